//! The local cloud as the Rust SDK sees it, through the clients that the host makes: one named test for each behaviour of a service.
//! An error is looked at as the host sees it, too: the code that the SDK parsed, its kind, a request id.

mod address;
mod database;
mod identity;
mod image;
mod instance;
mod key_pair;
mod load_balancer;
mod managed_password;
mod parameter;
mod protocol;
mod queue;
mod second_client;
mod security_group;
mod topic;

use std::time::{Duration, Instant};

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ops::clients::aws::{Clients, Target, failure};
use ops::error::{Error, Kind};

use crate::harness::Project;

/// A real public key, in the form that `ssh-keygen` writes.
const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIA8XI08wDrnQ+Z1XXh2YfcHBDJL3xwlYGgSUoh5h53x me";

/// How long a resource may take from one state to the next before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a test ends with: an answer that should not have been an error is shown as the SDK prints it.
type Outcome = Result<(), Failure>;
type Failure = Box<dyn std::error::Error>;

/// A local cloud of the test's own, and the host's clients for it.
struct Cloud {
    clients: Clients,
    project: Project,
}

impl Cloud {
    async fn start() -> Self {
        let project = Project::empty();
        project.write("ops.toml", "");
        project.ops(&["local", "up"]).ended_with(0);
        let target = Target::Local { endpoint: project.endpoint() };
        let clients = Clients::connect(&target, None).await.expect("the clients connect");
        Self { clients, project }
    }

    /// Makes the next request for an operation fail with `code`.
    fn fault(&self, service: &str, operation: &str, code: &str) {
        self.project.fault(service, operation, code);
    }

    /// How often an operation has been asked for: counted on the wire.
    fn calls_of(&self, operation: &str) -> usize {
        let report = self.project.local("/_local/calls");
        let calls = report["calls"].as_array().expect("the calls");
        calls.iter().filter(|call| call["operation"] == operation).count()
    }
}

/// The host's error for a call that has to fail with `code`.
#[track_caller]
fn refused<T, E>(answer: Result<T, SdkError<E, HttpResponse>>, code: &str, kind: Kind) -> Error
where
    T: std::fmt::Debug,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let error = match answer {
        Ok(answer) => panic!("expected {code}, got {answer:?}"),
        Err(error) => failure("service", "Operation", error),
    };
    assert_eq!((error.code.as_str(), error.kind), (code, kind), "{error}");
    assert_eq!(error.request_id.len(), "00000000-0000-0000-0000-000000000000".len(), "{error:?}");
    assert!(!error.message.is_empty() && error.message != "the service gave no reason", "{error:?}");
    assert!(!error.retryable, "asking again would not help: {error:?}");
    error
}

/// Asks until there is a value, or fails with `what`.
async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let started = Instant::now();
    loop {
        if let Some(value) = ask().await? {
            return Ok(value);
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

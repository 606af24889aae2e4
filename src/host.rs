//! What one run may touch: its clients, its stack, its output; and [`Host::change`], the one door for changes.

mod change;
mod connection;
mod consent;
mod ending;
pub mod interruption;
mod session;
mod stack;
mod testing;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::watch;

pub use change::{Answer, Change};
pub use connection::Connect;
pub use consent::Consent;
pub use ending::Deferred;
pub use stack::{NAME_TAG, STACK_TAG};

use crate::clients::aws::Clients;
use crate::error::Error;
use crate::progress::Progress;
use crate::secret::Secret;
use session::Session;
use waiting::Expectation;

/// The folders and files of the project that a run works in.
#[derive(Debug, Clone)]
pub struct Project {
    /// Paths in a playbook start here.
    pub root: PathBuf,
    /// `.ops`: journal, locks, keys and the local cloud. Mode 0700.
    pub folder: PathBuf,
    /// The state file.
    pub state: PathBuf,
}

/// The world that the clients reach.
#[derive(Debug, Clone)]
pub enum World {
    Aws,
    /// The local cloud, whose files lie in `folder`.
    Local {
        folder: PathBuf,
        /// Whether a test of `ops test` is under way: waits set the cloud's clock forward, and take no time.
        under_test: bool,
    },
}

/// One run of one playbook.
pub struct Host {
    connect: Connect,
    clients: OnceLock<Arc<Clients>>,
    pub world: World,
    pub progress: Progress,
    pub project: Project,
    consent: Consent,
    /// Reads are real, changes are only listed.
    pub dry_run: bool,
    runtime: Handle,
    cancelled: AtomicBool,
    cancel: watch::Sender<bool>,
    /// The loops that Ctrl-C ends in place of the run.
    loops: Mutex<Vec<watch::Sender<bool>>>,
    stack: OnceLock<String>,
    session: Mutex<Option<Session>>,
    agreed: AtomicBool,
    /// Held while a person is asked: the threads of `parallel` ask one after the other.
    asking: Mutex<()>,
    /// How often something was to be changed.
    attempts: AtomicU64,
    /// Whether the stack was looked through, and has nothing.
    empty: AtomicBool,
    output: Mutex<Option<serde_json::Value>>,
    /// The stack's secrets by their path, read once in a run.
    pub secrets: Mutex<Option<BTreeMap<String, Secret>>>,
    deferred: Mutex<Vec<Deferred>>,
    /// Why the script has failed, when it has.
    failure: OnceLock<String>,
    /// What a plan has listed: a thing that is asked for twice is made once.
    listed: Mutex<BTreeSet<String>>,
    /// When this run last made something.
    made: Mutex<Option<Instant>>,
    expected: Mutex<Vec<Expectation>>,
}

impl Host {
    pub fn new(
        connect: Connect,
        world: World,
        progress: Progress,
        project: Project,
        consent: Consent,
        dry_run: bool,
        runtime: Handle,
    ) -> Self {
        if dry_run {
            progress.plan();
        }
        Host {
            connect,
            clients: OnceLock::new(),
            world,
            progress,
            project,
            consent,
            dry_run,
            runtime,
            cancelled: AtomicBool::new(false),
            cancel: watch::Sender::new(false),
            loops: Mutex::new(Vec::new()),
            stack: OnceLock::new(),
            session: Mutex::new(None),
            agreed: AtomicBool::new(false),
            asking: Mutex::new(()),
            attempts: AtomicU64::new(0),
            empty: AtomicBool::new(false),
            output: Mutex::new(None),
            secrets: Mutex::new(None),
            deferred: Mutex::new(Vec::new()),
            failure: OnceLock::new(),
            listed: Mutex::new(BTreeSet::new()),
            made: Mutex::new(None),
            expected: Mutex::new(Vec::new()),
        }
    }
}

/// Makes `folder` and what is above it, and keeps others out of it.
pub fn private_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| Error::io(format_args!("make the folder {}", folder.display()), &source))
}

//! Faults that a test sets, so that a playbook can be seen to cope. `POST /_local/faults` takes
//! `{"service": "ec2", "operation": "RunInstances", "code": "InsufficientInstanceCapacity", "times": 1}`, with `message` and `status` (400)
//! if wanted: the next `times` (1) requests for that operation answer that error and do nothing. They are gone after a restart.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::query::AwsError;

#[derive(Default)]
pub(crate) struct Faults {
    set: Mutex<Vec<Fault>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// As in a signature's scope: `ec2`, `rds`, `elasticloadbalancing`.
    service: String,
    operation: String,
    code: String,
    #[serde(default = "by_a_test")]
    message: String,
    #[serde(default = "bad_request")]
    status: u16,
    #[serde(default = "once")]
    times: u32,
}

fn by_a_test() -> String {
    "A fault that was set for a test".into()
}

fn bad_request() -> u16 {
    400
}

fn once() -> u32 {
    1
}

impl Faults {
    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, body: &[u8]) -> Result<(), String> {
        let fault: Fault = serde_json::from_slice(body).map_err(|error| format!("not a fault: {error}"))?;
        if !(400..600).contains(&fault.status) {
            return Err(format!("not a fault: status {} is not 400 to 599", fault.status));
        }
        self.faults().push(fault);
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.faults().clear();
    }

    pub(crate) fn report(&self) -> Value {
        json!({ "faults": *self.faults() })
    }

    /// The error that a request shall answer, once less from now on.
    pub(crate) fn take(&self, service: &str, operation: &str) -> Option<AwsError> {
        let mut faults = self.faults();
        faults.retain(|fault| fault.times > 0);
        let fault =
            faults.iter_mut().find(|fault| fault.service == service && fault.operation == operation)?;
        fault.times -= 1;
        Some(AwsError {
            status: fault.status,
            code: fault.code.clone().into(),
            message: fault.message.clone(),
        })
    }
}

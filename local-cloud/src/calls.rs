//! Counts the calls that came over the wire since the start, so that "a second run changes nothing" can be asserted
//! where nobody can talk it round. A message sent or received is an effect and counted apart: it changes no resource.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::query::Access;
use crate::time::Time;

/// The list is for people and tests; the counts go on beyond it.
const KEPT: usize = 2000;

#[derive(Default)]
pub(crate) struct Calls {
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    mutating: u64,
    effects: u64,
    reads: u64,
    calls: VecDeque<Value>,
}

impl Calls {
    pub(crate) fn record(&self, service: &str, operation: &str, access: Access) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        *match access {
            Access::Change => &mut log.mutating,
            Access::Effect => &mut log.effects,
            Access::Read => &mut log.reads,
        } += 1;
        if log.calls.len() == KEPT {
            log.calls.pop_front();
        }
        log.calls.push_back(json!({
            "service": service, "operation": operation, "mutating": access == Access::Change, "time": Time::now().to_string(),
        }));
    }

    pub(crate) fn report(&self) -> Value {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "mutating": log.mutating, "effects": log.effects, "reads": log.reads, "calls": log.calls })
    }
}

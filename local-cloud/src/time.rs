//! A point in time as the control plane stores it (milliseconds since 1970) and as AWS prints it (ISO 8601, UTC).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Time(i64);

/// How far this cloud's clock is ahead, in milliseconds: what tests have skipped. A cloud is a process of its own, and its clock
/// one for all services in it.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// A test skips at most ten years at once: no clock runs over.
const LONGEST_SKIP_S: u32 = 10 * 366 * 24 * 3600;

/// Sets the clock forward: `{"skip_s": 60}`. Gives what the clock says then.
pub(crate) fn skip(body: &[u8]) -> Result<Value, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Skip {
        skip_s: u32,
    }
    let Skip { skip_s } =
        serde_json::from_slice(body).map_err(|error| format!("no time to skip: {error}"))?;
    if skip_s > LONGEST_SKIP_S {
        return Err(format!("no time to skip: {skip_s} s is more than {LONGEST_SKIP_S} s"));
    }
    AHEAD.fetch_add(i64::from(skip_s) * 1000, Ordering::SeqCst);
    Ok(clock())
}

/// What the clock says.
pub(crate) fn clock() -> Value {
    json!({ "now": Time::now().to_string() })
}

impl Time {
    pub(crate) fn now() -> Time {
        Time(jiff::Timestamp::now().as_millisecond().saturating_add(AHEAD.load(Ordering::SeqCst)))
    }

    pub(crate) fn after(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    pub(crate) fn is_past(self) -> bool {
        self <= Time::now()
    }

    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_millis(u64::try_from(Time::now().0.saturating_sub(self.0)).unwrap_or(0))
    }

    pub(crate) fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub(crate) fn milliseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(formatter, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

//! A point in time as the control plane stores it (milliseconds since 1970) and as AWS prints it (ISO 8601, UTC).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Time(i64);

impl Time {
    pub(crate) fn now() -> Time {
        Time(jiff::Timestamp::now().as_millisecond())
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

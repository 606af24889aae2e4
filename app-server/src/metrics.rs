//! What `/metrics` shows, in Prometheus' text format. Counted where the audit is written, so both tell the same story.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pool::Pools;
use crate::tier::Tier;

pub(crate) const OUTCOMES: [&str; 5] = ["success", "denied", "cancelled", "error", "abandoned"];

#[derive(Default)]
pub(crate) struct Metrics {
    logins_accepted: AtomicU64,
    logins_refused: AtomicU64,
    /// In the order of `OUTCOMES`.
    statements: [AtomicU64; OUTCOMES.len()],
    statement_us: AtomicU64,
}

impl Metrics {
    pub(crate) fn login(&self, accepted: bool) {
        let counter = if accepted { &self.logins_accepted } else { &self.logins_refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statement(&self, outcome: &str, duration: std::time::Duration) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.statements[place].fetch_add(1, Ordering::Relaxed);
        }
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.statement_us.fetch_add(duration_us, Ordering::Relaxed);
    }

    pub(crate) fn render(&self, open_sessions: usize, pools: &Pools) -> String {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::from("# TYPE app_server_statements_total counter\n");
        for (outcome, counter) in OUTCOMES.iter().zip(&self.statements) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "app_server_statements_total{{outcome=\"{outcome}\"}} {}", value(counter));
        }
        let _ = write!(
            text,
            "# TYPE app_server_statement_seconds_total counter\n\
             app_server_statement_seconds_total {:.6}\n\
             # TYPE app_server_logins_total counter\n\
             app_server_logins_total{{result=\"accepted\"}} {}\n\
             app_server_logins_total{{result=\"refused\"}} {}\n\
             # TYPE app_server_open_sessions gauge\n\
             app_server_open_sessions {open_sessions}\n",
            value(&self.statement_us) as f64 / 1e6,
            value(&self.logins_accepted),
            value(&self.logins_refused),
        );
        text.push_str("# TYPE app_server_database_sessions gauge\n");
        for tier in Tier::ALL {
            let (used, idle) = pools.count(tier);
            for (state, count) in [("used", used), ("idle", idle)] {
                let name = tier.name();
                let _ = writeln!(
                    text,
                    "app_server_database_sessions{{tier=\"{name}\",state=\"{state}\"}} {count}"
                );
            }
        }
        text
    }
}

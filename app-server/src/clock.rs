//! A session's clock, outside the session that could change its own settings: it ends what is idle for too long or outlives a
//! shutdown, and stops statements that pass their tier's limit.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::cancel::Target;
use crate::config::StatementLimit;
use crate::ledger::Ledger;
use crate::session::Services;
use crate::tier::Tier;
use crate::wire::ErrorResponse;

/// PostgreSQL's own statement_timeout is the first to stop a statement; this server's clock is for sessions that changed it.
const CLOCK_GRACE: Duration = Duration::from_secs(1);
/// A statement that does not end within this after a cancel loses its session.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Ends the session when it was idle for too long, or when the server shuts down; never in the middle of a transaction, unless
/// the client has left that alone for too long, which keeps a database session from others, or the shutdown has waited long enough. Stops statements that cost more than the tier's may, whatever the session has set.
pub(crate) async fn watch(
    services: &Services,
    tier: Tier,
    ledger: &Mutex<Ledger>,
    attention: &Notify,
    target: &Target,
) -> ErrorResponse {
    let limit = services.limits.of(tier);
    let mut draining = services.draining.clone();
    let mut cancelled_at: Option<Instant> = None;
    loop {
        let drain_began = *draining.borrow_and_update();
        let now = Instant::now();
        let mut wake_at = now + services.idle_timeout;
        let must_cancel = {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = ledger.is_idle();
            if drain_began.is_some_and(|began| idle || now - began >= services.drain_timeout) {
                return shutting_down();
            }
            if idle {
                wake_at = ledger.last_activity + services.idle_timeout;
                if wake_at <= now {
                    let seconds = services.idle_timeout.as_secs();
                    let message = format!("the session was idle for {seconds} s and has expired");
                    return ErrorResponse::fatal("57P05", message).with_hint("connect again");
                }
            }
            let idle_transaction_timeout = services.pools.pooling.idle_transaction_timeout;
            wake_at = wake_at.min(now + idle_transaction_timeout);
            if ledger.is_idle_in_transaction() {
                let ends_at = ledger.last_activity + idle_transaction_timeout;
                if ends_at <= now {
                    return idle_in_transaction(idle_transaction_timeout);
                }
                wake_at = wake_at.min(ends_at);
            }
            if let (Some(limit), Some(since)) = (limit, ledger.running_since()) {
                let ends_at = since + limit.duration + CLOCK_GRACE;
                if ends_at <= now {
                    ledger.exceed(too_slow(tier, limit.duration));
                } else {
                    wake_at = wake_at.min(ends_at);
                }
            } else if let Some(limit) = limit {
                // Nothing runs: what starts meanwhile is looked at before it can exceed by much.
                wake_at = wake_at.min(now + limit.duration);
            }
            if !ledger.is_exceeded() {
                cancelled_at = None;
            }
            ledger.take_cancel()
        };
        if must_cancel {
            cancelled_at = Some(now);
            target.cancel(&services.database).await;
            ledger.lock().unwrap_or_else(PoisonError::into_inner).cancelling = false;
            // The relay looks again.
            yield_now().await;
        }
        if let Some(at) = cancelled_at {
            if at.elapsed() >= CANCEL_GRACE {
                return ErrorResponse::fatal(
                    "57014",
                    "a statement passed the tier's limit and could not be cancelled",
                );
            }
            wake_at = wake_at.min(at + CANCEL_GRACE);
        }
        if let Some(began) = drain_began {
            wake_at = wake_at.min(began + services.drain_timeout);
        }
        tokio::select! {
            () = sleep_until(TokioInstant::from_std(wake_at)) => {}
            () = attention.notified() => {}
            // The sender lives as long as the process.
            _ = draining.changed() => {}
        }
    }
}

fn idle_in_transaction(limit: Duration) -> ErrorResponse {
    let seconds = limit.as_secs();
    let message =
        format!("the session was idle in a transaction for {seconds} s: the transaction is rolled back");
    ErrorResponse::fatal("25P03", message).with_hint("connect again, and keep transactions short")
}

pub(crate) fn shutting_down() -> ErrorResponse {
    ErrorResponse::fatal("57P01", "the server is shutting down").with_hint("connect again")
}

fn too_slow(tier: Tier, limit: Duration) -> ErrorResponse {
    let seconds = limit.as_secs();
    ErrorResponse::error(
        "57014",
        format!("the statement was stopped after {seconds} s, the limit of a `{}` account", tier.name()),
    )
    .with_hint("ask for less at a time: add a WHERE or a LIMIT")
}

pub(crate) fn too_much(tier: Tier, is_rows: bool, limit: StatementLimit) -> ErrorResponse {
    let much = if is_rows { format!("{} rows", limit.rows) } else { format!("{} bytes", limit.bytes) };
    let message = format!("the statement was stopped after {much}, the limit of a `{}` account", tier.name());
    ErrorResponse::error("54000", message).with_hint("ask for less at a time: add a WHERE or a LIMIT")
}

//! A query server: any PostgreSQL client logs in as an application user and works under the grants of that user's tier.
//!
//! The way of a connection: `listener` gives it to one of the `workers` and tells PostgreSQL, TLS and HTTP apart by the first byte, `login` finds out who it is
//! (`scram`, `accounts`, `guard`), `pool` has database sessions (and `queue` those who wait for one) logged in as the tier's role (`backend`, `database_scram`),
//! `handover` makes one the person's, and `relay` passes the bytes on. There `ledger` keeps what was asked and not yet
//! answered, `prepared_statements` and `portals` what a client has prepared and bound, and `client_settings` what it has set; `allow_list` reads what free and premium accounts say, `refusal` and
//! `clock` say no, `record_play` is the free tier's only write, and `audit` (`audit_record`, `audit_file`, `standard_output`, `metrics`) keeps what came of it all. `readiness` says
//! whether to serve at all; `config` has every setting, and `command_line` the program's commands.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod allow_list;
mod audit;
mod audit_file;
mod audit_record;
mod backend;
mod cancel;
mod client_settings;
mod clock;
mod command_line;
mod config;
mod database_scram;
mod guard;
mod handover;
mod http;
mod identity;
mod ledger;
mod listener;
mod log;
mod login;
#[cfg(test)]
mod malformed;
mod metrics;
mod pool;
mod portals;
mod prepared_statements;
mod proxy_protocol;
mod queue;
mod readiness;
mod record_play;
mod redaction;
mod refusal;
mod relay;
mod scram;
mod server;
mod session;
mod session_state;
mod standard_output;
mod stream;
mod tier;
mod tls;
#[cfg(any(test, feature = "fuzzing"))]
pub mod untrusted;
mod wire;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use config::{Config, Sources};

/// Runs the program: `serve`, `check-config` or `hash-password`, and without a command what `main_from_environment` does.
pub fn main_from_arguments(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    command_line::run(arguments)
}

/// Runs the server that the environment describes until SIGTERM or Ctrl-C.
///
/// Answers 0 after a drain, 1 when serving failed, and 2 when the environment does not describe a server; each problem is one
/// line on stderr.
pub fn main_from_environment() -> ExitCode {
    serve(Sources::environment(|name| std::env::var(name).ok()))
}

fn serve(sources: Sources) -> ExitCode {
    let config = match sources.gather().and_then(|given| Config::read(&given)) {
        Ok(config) => config,
        Err(problems) => return command_line::tell(&problems),
    };
    match server::run(config, sources) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command_line::say(error);
            ExitCode::FAILURE
        }
    }
}

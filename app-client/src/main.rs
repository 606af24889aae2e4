//! `app-client`: SQL from a terminal or a script to the application's server, or to any PostgreSQL.
//!
//! `cli` reads the command line, `target` finds the server (`state`, `password`), `connection` speaks
//! the protocol, `script` cuts text into statements, `run` sends them, `output` shows the rows.
//! `progress` and `activity` say what takes long, `say` all that is no result. What the user asked for is done by `one_shot`, `prompt`, `check` or `doctor`.

#[macro_use]
mod say;

mod activity;
mod check;
mod cli;
mod connection;
mod doctor;
mod error;
mod interrupt;
mod keyboard;
mod one_shot;
mod output;
mod password;
mod progress;
mod prompt;
mod run;
mod script;
mod server_message;
mod state;
mod target;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(code) => code,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            remark!("error: {error}");
            if let Some(hint) = error.hint() {
                remark!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

//! The query server as a program of its own. What it needs is in its environment: see `config.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    app_server::main_from_environment()
}

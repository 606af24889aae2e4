//! The query server as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    app_server::main_from_arguments(std::env::args_os())
}

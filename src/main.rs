//! Parses the command line, runs the command, and gives the exit code.

fn main() -> std::process::ExitCode {
    ops::cli::main()
}

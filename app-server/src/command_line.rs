//! The program's commands: `serve`, `check-config` and `hash-password`. Flags are made from the table of settings.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use postgres_protocol::password::scram_sha_256;

use crate::config::{Config, Kind, SETTINGS, Sources};
use crate::tls::{DatabaseTls, ServerTls};

/// What is told when there is something wrong with how the program was called.
const USAGE: u8 = 2;

fn command() -> Command {
    let flags = || {
        let config = Arg::new("config").long("config").value_name("FILE").help("TOML file with settings");
        std::iter::once(config).chain(SETTINGS.iter().map(|setting| {
            let name = setting.outer_name();
            let long = name.to_lowercase().replace('_', "-");
            let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
            let also = if setting.kind == Kind::Plain {
                format!(" [env: {name}]")
            } else {
                format!(" [env: {name}, or {} with the content]", setting.name)
            };
            let value = if setting.kind == Kind::Plain { "VALUE" } else { "FILE" };
            Arg::new(name).long(long).value_name(value).help(format!("{}{default}{also}", setting.meaning))
        }))
    };
    Command::new("app-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A query server: any PostgreSQL client logs in as an application user, under the grants of that user's tier")
        .after_help("Without a command it serves what the environment describes.")
        .subcommand(
            Command::new("serve")
                .about("Serves until SIGTERM or Ctrl-C; SIGHUP reads the TLS certificate again")
                .args(flags()),
        )
        .subcommand(
            Command::new("check-config")
                .about("Shows every setting and where it comes from, and says what is wrong with them")
                .args(flags()),
        )
        .subcommand(
            Command::new("hash-password")
                .about("Reads a password and prints the SCRAM-SHA-256 verifier to store with private.set_credential"),
        )
}

/// Runs the command that the arguments name, the program's own name first.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help goes to stdout, mistakes to stderr; a reader that left early is no failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match matches.subcommand() {
        Some(("check-config", flags)) => check_config(&sources(flags)),
        Some(("hash-password", _)) => hash_password(),
        Some((_, flags)) => crate::serve(sources(flags)),
        None => crate::serve(Sources::environment(variable)),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn sources(matches: &ArgMatches) -> Sources {
    let flag = |name: &str| matches.get_one::<String>(name).cloned();
    let flags: HashMap<_, _> = SETTINGS
        .iter()
        .filter_map(|setting| {
            let name = setting.outer_name();
            flag(&name).map(|value| (name, value))
        })
        .collect();
    Sources::new(flags, variable, flag("config").map(PathBuf::from))
}

fn check_config(sources: &Sources) -> ExitCode {
    let given = match sources.gather() {
        Ok(given) => given,
        Err(problems) => return tell(&problems),
    };
    let mut shown_settings = String::new();
    for setting in SETTINGS {
        let shown = match (given.value(setting.name), setting.kind) {
            (Some(value), Kind::Plain) => value,
            (Some(_), _) => "(set)",
            (None, _) => "(not set)",
        };
        let origin = given.origin(setting.name).map(|origin| format!("  {origin}")).unwrap_or_default();
        shown_settings += &format!("{:<26} {shown}{origin}\n", setting.name);
    }
    let printed = print(&shown_settings);
    let config = match Config::read(&given) {
        Ok(config) => config,
        Err(problems) => return tell(&problems),
    };
    let certificate = config.certificate.as_ref().map(ServerTls::new).transpose();
    match certificate.map(drop).and_then(|()| DatabaseTls::new(&config.database).map(drop)) {
        Ok(()) if printed == ExitCode::SUCCESS => print("the configuration is usable\n"),
        Ok(()) => printed,
        Err(error) => tell(&[error]),
    }
}

/// Text on stdout. `println!` would panic where a pipe is closed or a disk is full.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line on stderr. Where that cannot be written, nobody can be told.
pub(crate) fn say(words: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "app-server: {words}");
}

/// Each problem is one line on stderr.
pub(crate) fn tell(problems: &[impl std::fmt::Display]) -> ExitCode {
    for problem in problems {
        say(problem);
    }
    ExitCode::from(USAGE)
}

/// From a terminal the password is asked for twice and not shown; otherwise it is the first line of stdin.
fn hash_password() -> ExitCode {
    let read = || -> io::Result<String> {
        if !io::stdin().is_terminal() {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line)?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the two are not the same"));
        }
        Ok(password)
    };
    match read() {
        Ok(password) if password.is_empty() => tell(&["an empty password is none: give one on stdin"]),
        Ok(password) => print(&format!("{}\n", scram_sha_256(password.as_bytes()))),
        Err(error) => tell(&[format!("cannot read the password: {error}")]),
    }
}

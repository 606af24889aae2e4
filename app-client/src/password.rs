//! Where a password comes from: a service file, `PGPASSWORD`, the command that asks a keyring, a
//! password file, or a hidden prompt; never an argument.
//!
//! The file has libpq's format: `host:port:database:user:password` a line, `*` matches anything,
//! `\` escapes. A file that others may read is not used, as with libpq.

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{fmt, io, process, thread};

use thiserror::Error;

use crate::connection::Address;
use crate::interrupt;
use crate::keyboard;
use crate::target::Target;

/// The origin of a password that was typed.
pub(crate) const PROMPT: &str = "the prompt";

/// A command of the user's that prints the password, for instance out of the keyring.
const COMMAND: &str = "APP_CLIENT_PASSWORD_COMMAND";

/// A secret: it has no way to be printed.
#[derive(Clone)]
pub(crate) struct Password {
    pub(crate) text: String,
    /// For messages: which variable or file, never what it said.
    pub(crate) origin: String,
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[password from {}]", self.origin)
    }
}

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("a password is needed for `{user}` and none was found{}", looked(.files))]
    None { user: String, files: Vec<PathBuf> },
    #[error("{COMMAND} cannot be run: {source}")]
    Command { source: std::io::Error },
    #[error("{COMMAND} ended with {status}")]
    CommandFailed { status: ExitStatus },
    #[error("{COMMAND} printed no password; expected it as the first line, in UTF-8")]
    CommandOutput,
    #[error("cannot read the password from the terminal: {source}")]
    Prompt { source: std::io::Error },
}

impl Error {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::None { .. } => Some(
                "set PGPASSWORD, or put a line `host:port:database:user:password` into ~/.pgpass (chmod 600), \
                 or run app-client on a terminal, where it asks"
                    .to_owned(),
            ),
            Self::CommandFailed { .. } | Self::CommandOutput => Some(
                "run it by hand; it finds PGHOST, PGPORT, PGUSER and PGDATABASE in its environment".to_owned(),
            ),
            Self::Command { .. } | Self::Prompt { .. } => None,
        }
    }
}

fn looked(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    format!(" (looked in {})", names.join(", "))
}

/// Remembers the password for further connections of the same run.
#[derive(Clone, Default)]
pub(crate) struct Passwords {
    found: Option<(String, Password)>,
    /// Nobody may be asked, nothing looked up.
    only_found: bool,
}

impl Passwords {
    pub(crate) fn find(&mut self, target: &Target) -> Result<&Password, Error> {
        let known = matches!(&self.found, Some((user, _)) if *user == target.user);
        if !known && self.only_found {
            return Err(Error::None { user: target.user.clone(), files: Vec::new() });
        }
        if !known {
            self.found = Some((target.user.clone(), find(target)?));
        }
        let (_, password) = self.found.as_ref().expect("it was just put there");
        Ok(password)
    }

    /// What was found so far, for a session that the user did not ask for.
    pub(crate) fn without_asking(&self) -> Self {
        Self { found: self.found.clone(), only_found: true }
    }

    pub(crate) fn forget(&mut self) {
        self.found = None;
    }
}

fn find(target: &Target) -> Result<Password, Error> {
    if let Some(password) = &target.password {
        return Ok(password.clone());
    }
    if let Ok(text) = std::env::var("PGPASSWORD")
        && !text.is_empty()
    {
        return Ok(Password { text, origin: "PGPASSWORD".to_owned() });
    }
    if let Some(command) = std::env::var(COMMAND).ok().filter(|command| !command.is_empty()) {
        return from_command(&command, target);
    }
    for file in &target.passfiles {
        for (number, entry) in entries(file) {
            if entry.matches(target) {
                let origin = format!("{}, line {number}", file.display());
                return Ok(Password { text: entry.password, origin });
            }
        }
    }
    // The prompt goes to the terminal itself, so a result that is redirected stays clean.
    if !std::io::stdin().is_terminal() && !std::io::stderr().is_terminal() {
        return Err(Error::None { user: target.user.clone(), files: target.passfiles.clone() });
    }
    keyboard::restore();
    match rpassword::prompt_password(format!("Password for {}: ", target.user)) {
        Ok(text) => Ok(Password { text, origin: PROMPT.to_owned() }),
        // The thread that hears signals ends the program, with the signal's own code; it may be a moment behind.
        Err(source) if source.kind() == io::ErrorKind::Interrupted => {
            thread::sleep(Duration::from_secs(1));
            process::exit(i32::from(interrupt::EXIT_CODE))
        }
        Err(source) => Err(Error::Prompt { source }),
    }
}

/// The first line that the shell command prints, as with git's askpass. It learns from libpq's
/// variables whose password is wanted. It is a variable of the user's own, not a setting of a file
/// that comes with a project: what comes with a project must not run programs.
fn from_command(command: &str, target: &Target) -> Result<Password, Error> {
    let host = match &target.address {
        Address::Tcp { host, .. } => host.clone(),
        Address::Unix(path) => path.parent().map(|folder| folder.display().to_string()).unwrap_or_default(),
    };
    // It may have a question of its own, at the terminal.
    keyboard::restore();
    let done = Command::new("sh")
        .args(["-c", command])
        .envs([("PGHOST", host), ("PGPORT", port(&target.address))])
        .envs([("PGUSER", &target.user), ("PGDATABASE", &target.database)])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Command { source })?;
    if !done.status.success() {
        return Err(Error::CommandFailed { status: done.status });
    }
    let printed = String::from_utf8(done.stdout).map_err(|_| Error::CommandOutput)?;
    match printed.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Password { text: line.to_owned(), origin: COMMAND.to_owned() }),
        None => Err(Error::CommandOutput),
    }
}

/// The users that a password file knows for this place; for a message, so problems are no matter.
pub(crate) fn users(file: &Path, address: &Address, server_name: &str, database: &str) -> Vec<String> {
    let mut users: Vec<String> = Vec::new();
    for (_, entry) in entries(file) {
        let fits = entry.host_matches(address, server_name)
            && entry.port.matches(&port(address))
            && entry.database.matches(database);
        if let (true, Pattern::Exactly(user)) = (fits, entry.user)
            && !users.contains(&user)
        {
            users.push(user);
        }
    }
    users
}

#[derive(Debug, PartialEq)]
enum Pattern {
    Anything,
    Exactly(String),
}

impl Pattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Exactly(expected) => expected == value,
        }
    }
}

struct Entry {
    host: Pattern,
    port: Pattern,
    database: Pattern,
    user: Pattern,
    password: String,
}

impl Entry {
    fn matches(&self, target: &Target) -> bool {
        self.host_matches(&target.address, &target.server_name)
            && self.port.matches(&port(&target.address))
            && self.database.matches(&target.database)
            && self.user.matches(&target.user)
    }

    /// By the address that is dialled or by the name that the server proves.
    fn host_matches(&self, address: &Address, server_name: &str) -> bool {
        match address {
            Address::Tcp { host, .. } => self.host.matches(host) || self.host.matches(server_name),
            // libpq's word for every Unix socket.
            Address::Unix(_) => self.host.matches("localhost"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let mut rest = line;
        let mut fields = [const { String::new() }; 4];
        let mut bare = [true; 4];
        for (field, bare) in fields.iter_mut().zip(&mut bare) {
            let mut characters = rest.char_indices();
            loop {
                match characters.next()? {
                    (at, ':') => {
                        rest = &rest[at + 1..];
                        break;
                    }
                    (_, '\\') => {
                        *bare = false;
                        field.push(characters.next()?.1);
                    }
                    (_, other) => field.push(other),
                }
            }
        }
        let mut patterns = fields.into_iter().zip(bare).map(|(field, bare)| match field == "*" && bare {
            true => Pattern::Anything,
            false => Pattern::Exactly(field),
        });
        // The password is the rest of the line; a colon in it needs no escape.
        let mut password = String::new();
        let mut characters = rest.chars();
        while let Some(character) = characters.next() {
            password.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
        }
        Some(Self {
            host: patterns.next()?,
            port: patterns.next()?,
            database: patterns.next()?,
            user: patterns.next()?,
            password,
        })
    }
}

fn port(address: &Address) -> String {
    match address {
        Address::Tcp { port, .. } => port.to_string(),
        // `.s.PGSQL.5432`
        Address::Unix(path) => {
            path.extension().map(|port| port.to_string_lossy().into_owned()).unwrap_or_default()
        }
    }
}

/// The lines of `file` with their numbers; none, with a warning, if others may read it.
fn entries(file: &Path) -> Vec<(usize, Entry)> {
    let Ok(metadata) = std::fs::metadata(file) else { return Vec::new() };
    if metadata.permissions().mode() & 0o077 != 0 {
        let file = file.display();
        remark!("warning: the password file {file} may be read by others, so it is not used");
        remark!("hint: chmod 600 {file}");
        return Vec::new();
    }
    match std::fs::read_to_string(file) {
        Ok(text) => text
            .lines()
            .enumerate()
            .filter_map(|(index, line)| Entry::parse(line).map(|entry| (index + 1, entry)))
            .collect(),
        Err(error) => {
            remark!("warning: cannot read the password file {}: {error}", file.display());
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_escape_colons_and_backslashes_and_use_wildcards() {
        let entry = Entry::parse(r"db\:1:*:mu\\sic:\*:pa\:ss:word\\").expect("a line");
        assert_eq!(entry.host, Pattern::Exactly("db:1".into()));
        assert_eq!(entry.port, Pattern::Anything);
        assert_eq!(entry.database, Pattern::Exactly(r"mu\sic".into()));
        assert_eq!(entry.user, Pattern::Exactly("*".into()));
        assert_eq!(entry.password, r"pa:ss:word\");
    }

    #[test]
    fn comments_and_short_lines_are_no_entries() {
        for line in ["", "# a:b:c:d:e", "host:5432:db:user"] {
            assert!(Entry::parse(line).is_none(), "{line}");
        }
    }
}

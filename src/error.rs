//! The one error of the host: what failed, as a script catches it (`e.kind`, `e.code`, `e.message` ..)
//! and as a person reads it.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use rhai::Position;

use crate::secret;

/// What sort of failure it is; a script can rely on the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Exists,
    Denied,
    Throttled,
    Invalid,
    Conflict,
    Timeout,
    Unavailable,
    Interrupted,
    Refused,
    Internal,
    /// No failure: what was asked for exists only after a change that a plan did not make. A script never sees it.
    Planned,
}

impl Kind {
    /// The word a script sees in `e.kind`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Exists => "exists",
            Kind::Denied => "denied",
            Kind::Throttled => "throttled",
            Kind::Invalid => "invalid",
            Kind::Conflict => "conflict",
            Kind::Timeout => "timeout",
            Kind::Unavailable => "unavailable",
            Kind::Interrupted => "interrupted",
            Kind::Refused => "refused",
            Kind::Internal => "internal",
            Kind::Planned => "planned",
        }
    }
}

/// A failure. Boxed, so that a `Result` stays small.
#[derive(Debug, Clone)]
pub struct Error(Box<Details>);

/// What is known of a failure.
#[derive(Debug, Clone)]
pub struct Details {
    pub kind: Kind,
    /// `ec2`, `rds`, `postgres` ..; empty where no service was asked.
    pub service: String,
    /// The API operation, such as `RunInstances`; empty where there is none.
    pub operation: String,
    /// The provider's own code, such as `InvalidGroup.Duplicate` or an SQLSTATE.
    pub code: String,
    pub message: String,
    pub request_id: String,
    pub retryable: bool,
    /// The key of an options map that is wrong, for the caret.
    pub key: Option<String>,
    /// What to do next, one sentence each.
    pub help: Vec<String>,
    /// The text and the position of the call that failed: a script that throws it on moves only the engine's own.
    pub raised: Option<(String, Position)>,
}

/// Writes a line for a person to stderr. `eprintln!` would end the program with a panic where stderr is closed.
pub fn say(line: &str) {
    let line = format!("{}\n", secret::mask(line));
    // Nobody is left to tell.
    _ = std::io::stderr().lock().write_all(line.as_bytes());
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Details {
            kind,
            service: String::new(),
            operation: String::new(),
            code: String::new(),
            message: message.into(),
            request_id: String::new(),
            retryable: false,
            key: None,
            help: Vec::new(),
            raised: None,
        }))
    }

    /// Something the author of a playbook, or whoever runs it, has to change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(Kind::Invalid, message)
    }

    /// A command line that cannot be followed: nothing was tried.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::new(Kind::Invalid, message).code(USAGE)
    }

    /// A broken promise of this program or of a service; never the user's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Error::new(Kind::Refused, message)
    }

    /// What a plan cannot know: `what` names it, such as `the endpoint of database db`.
    pub fn planned(what: impl Into<String>) -> Self {
        Error::new(Kind::Planned, what)
    }

    /// The run was stopped by a person.
    pub fn interrupted() -> Self {
        Error::new(Kind::Interrupted, "interrupted")
    }

    /// A file could not be read, written, locked ..: `doing` says what was tried, with the path.
    pub fn io(doing: impl fmt::Display, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            std::io::ErrorKind::StorageFull => Kind::Unavailable,
            _ => Kind::Internal,
        };
        Error::new(kind, format!("cannot {doing}: {source}"))
    }

    #[must_use]
    pub fn of(mut self, service: &str, operation: &str) -> Self {
        self.0.service = service.to_owned();
        self.0.operation = operation.to_owned();
        self
    }

    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.0.code = code.into();
        self
    }

    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Remembers where it was raised first.
    #[must_use]
    pub fn raised(mut self, text: &str, position: Position) -> Self {
        self.0.raised.get_or_insert_with(|| (text.to_owned(), position));
        self
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn help(mut self, sentence: impl Into<String>) -> Self {
        self.0.help.push(sentence.into());
        self
    }

    /// Says where: in which file, of which thing.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// The process's exit code when nobody caught it (docs/operations.md, "Exit codes of `ops`").
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.0.kind {
            Kind::Refused => 4,
            Kind::Invalid if self.0.code == USAGE => 2,
            Kind::Conflict if self.0.code == LOCKED => 5,
            Kind::Timeout => 124,
            Kind::Interrupted => 130,
            _ => 1,
        })
    }

    /// Prints it to stderr, for an error that belongs to no place in a playbook.
    pub fn print(&self) {
        say(&self.text());
    }

    /// What [`Error::print`] prints.
    pub fn text(&self) -> String {
        let help: String = self.0.help.iter().map(|sentence| format!("\n  help: {sentence}")).collect();
        format!("error: {}{help}", self.title())
    }

    /// A sentence with the service's own words, for a title.
    pub fn title(&self) -> String {
        let details = &self.0;
        match (details.operation.is_empty(), details.code.is_empty()) {
            (true, _) => details.message.clone(),
            (false, true) => format!("{} {}: {}", details.service, details.operation, details.message),
            (false, false) => {
                format!(
                    "{} {} failed with {}: {}",
                    details.service, details.operation, details.code, details.message
                )
            }
        }
    }
}

/// The code of an error of the command line.
const USAGE: &str = "Usage";

/// The code of an error that says that someone else holds the stack's lock.
pub const LOCKED: &str = "Locked";

impl std::ops::Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title())
    }
}

impl std::error::Error for Error {}

//! What a plan cannot know: a value that exists only after a change that was not made.
//!
//! Such a value may be kept, passed on, printed and made part of a text. A script that decides on one has come to
//! the end of what can be planned: the run stops there and says where, and it never goes on with an invented value.

mod words;

use std::fmt;

pub use words::{TYPE_NAME, register};

/// A value that is known only after the deployment.
#[derive(Debug, Clone)]
pub struct Unknown {
    /// What it is: `the endpoint of database db`.
    pub what: String,
    /// Where the script asked for it: `deploy.rhai:30`.
    pub place: String,
}

/// What surrounds an unknown value inside a text: private-use characters, which no text of a service has.
const OPEN: char = '\u{f0f0}';
const CLOSE: char = '\u{f0f1}';

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}(known after deploy: {}){CLOSE}", self.what)
    }
}

/// Whether an unknown value has become part of a text.
pub fn is_unknown(text: &str) -> bool {
    text.contains(OPEN)
}

/// A text as a person reads it.
pub fn readable(text: &str) -> String {
    text.replace([OPEN, CLOSE], "")
}

/// Why the script cannot be followed any further: no `try` catches it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What the script does: `decides on`, ``calls `len` with`` ..
    pub doing: String,
    pub on: Unknown,
}

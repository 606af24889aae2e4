//! What a plan cannot know: a value that exists only after a change that was not made.
//!
//! Such a value may be kept, passed on, printed and made part of a text. A script that decides on one has come to
//! the end of what can be planned: the run stops there and says where, and it never goes on with an invented value.

mod words;

use std::fmt;

use rhai::EvalAltResult;

use words::TYPE_NAME;
pub use words::register;

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

/// Where and why the script of a plan could not be followed any further, if that is how it ended.
pub fn end(error: &EvalAltResult) -> Option<String> {
    let cause = error.unwrap_inner();
    if let EvalAltResult::ErrorTerminated(value, _) = cause {
        let Decided { doing, on } = value.clone().try_cast::<Decided>()?;
        return Some(format!("the script {doing} {} (read at {})", on.what, on.place));
    }
    // A function of a namespace has no hook of its own: the engine says that there is none for such a value.
    let text = cause.to_string();
    // Some of the engine's errors have the author's word for a type, some its name in Rust.
    let unknown = text.contains(TYPE_NAME) || text.contains(std::any::type_name::<Unknown>());
    unknown.then(|| match cause {
        EvalAltResult::ErrorFunctionNotFound(call, _) => {
            let name = call.split(" (").next().unwrap_or(call);
            format!("the script calls `{name}` with a value that is known after the deployment")
        }
        _ => "the script decides on a value that is known after the deployment".to_owned(),
    })
}

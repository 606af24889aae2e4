//! What is said to a person: the prompt's own words, and remarks beside a result.
//!
//! `println!` and `eprintln!` panic where they cannot write. Here nothing is said then: who is not there to read cannot be told, a terminal
//! that is gone ends the prompt by itself, and results go through `output`, which reports what cannot be written.

use std::fmt;
use std::io::{self, Write};

/// A line on stdout.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::to(std::io::stdout(), format_args!("{}\n", format_args!($($words)*))) };
}

/// A line on stderr.
macro_rules! remark {
    ($($words:tt)*) => { $crate::say::to(std::io::stderr(), format_args!("{}\n", format_args!($($words)*))) };
}

/// Also what is not a whole line, such as a question.
pub(crate) fn to(mut stream: impl Write, words: fmt::Arguments<'_>) {
    let said: io::Result<()> = stream.write_fmt(words).and_then(|()| stream.flush());
    // As the module says.
    let _ = said;
}

//! A file for each command.

pub mod attention;
pub mod check;
pub mod completions;
pub mod doc;
pub mod duration;
pub mod list;
pub mod local;
pub mod new;
pub mod project;
pub mod repl;
pub mod run;
pub mod session;
pub mod signals;
pub mod stacks;
pub mod test;

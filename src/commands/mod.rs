//! A file for each command.

pub mod check;
pub mod list;
pub mod local;
pub mod project;
pub mod run;

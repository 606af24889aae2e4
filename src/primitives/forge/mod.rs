//! Where the project's source lies: its git repository, and GitHub.

pub mod git;
pub mod github;

//! Draws an error for somebody who writes playbooks: what failed, the line with a caret, how it was reached, what to do.

/// An error in the words of a playbook's author.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// What failed.
    pub title: String,
    /// The map key to point at, when the error is about one.
    pub key: Option<String>,
    /// What else is known, such as the service's own reason.
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Vec<String>,
}

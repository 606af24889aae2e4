//! What tests of playbooks say: what has to hold, and what their own local cloud shall do.

pub mod assert;
pub mod cloud;

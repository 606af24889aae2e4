//! How the host reaches services: each file connects a client, and turns what it throws into the host's
//! [`Error`](crate::error::Error). The requests themselves are in `primitives`, beside what they are for.

pub mod aws;
pub mod github;
pub mod http;
pub mod postgres;
pub mod process;
pub mod ssh;

//! The only rooms that name an SDK: each makes a client, and turns what it throws into the host's [`Error`](crate::error::Error).

pub mod aws;
pub mod http;
pub mod postgres;

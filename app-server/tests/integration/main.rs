//! The query server through its own door: a real PostgreSQL with the migrations and the sample data, the real server process,
//! and real clients. One file per subject; `harness` starts and stops things.

#![allow(clippy::unwrap_used)]

mod access;
mod audit;
mod corpus;
mod defences;
mod endurance;
mod escalation;
mod harness;
#[cfg(target_os = "linux")]
mod interop;
mod lifecycle;
mod limits;
mod operations;
mod pooled_state;
mod pooling;
mod program;
mod protocol;
mod raw;
mod rules;
mod sequences;
mod strangers;
mod tls;

//! Namespaces for servers: `ssh::`.

pub mod ssh;

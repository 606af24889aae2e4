//! Tests through the doors that users use: the programs, the files of the project, the wire.

mod architecture;
mod bad_input;
mod check;
mod deploy;
mod documentation;
mod drift;
mod faults;
mod flow;
mod harness;
mod interop;
mod interruption;
mod kill_sweep;
mod lock;
mod monitor;
mod plan;
mod playbook;
mod proxy;
mod reference;
mod rollout;
mod rust_sdk;
mod ssh;
mod ssh_database;
mod ssh_files;
mod sshd;
mod tree;
mod user_data;

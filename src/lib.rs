//! `ops` runs playbooks: Rhai scripts that deploy to AWS, or to a cloud on this machine.
//!
//! The rooms, from left to right; a file imports only from rooms to its right:
//!
//! ```text
//! main -> cli -> commands -> check -> reference
//!                         -> playbook, parameters, engine, report, page, sources
//!                         -> primitives -> host -> journal, lock, state, plan, progress, record, picture
//!                                               -> clients -> error, secret
//! ```
//!
//! - [`cli`] is the command line, [`commands`] has a file for each command.
//! - [`check`] judges a playbook without running it, [`reference`] is all that a playbook can call, also as pages.
//! - [`playbook`] finds a script, [`parameters`] reads what it declares, [`engine`] prepares its run, [`report`] draws its errors, [`page`] tells all of it.
//! - [`primitives`] is what a playbook's author sees, [`picture`] how it is drawn, [`host`] what one run may touch, [`clients`] how it reaches a service and what it makes of its errors.

pub mod check;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod engine;
pub mod error;
pub mod host;
pub mod journal;
pub mod lock;
pub mod page;
pub mod parameters;
pub mod picture;
pub mod plan;
pub mod playbook;
pub mod primitives;
pub mod progress;
pub mod record;
pub mod reference;
pub mod report;
pub mod secret;
pub mod sources;
pub mod state;

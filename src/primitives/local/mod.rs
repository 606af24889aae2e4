//! What belongs to the run's own side: its secrets and its state file.

pub mod config;
pub mod env;
pub mod file;
pub mod http;
pub mod process;
pub mod secrets;
pub mod state;
pub mod template;
pub mod text;
pub mod time;

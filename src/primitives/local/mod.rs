//! What belongs to the run's own side: its secrets and its state file.

pub mod secrets;
pub mod state;
pub mod text;
pub mod time;

//! The client through its own door: the binary, against a real PostgreSQL.

mod check;
mod configuration;
mod describe;
mod doctor;
mod errors;
mod formats;
mod harness;
mod history;
mod hostile;
mod interrupt;
mod login;
mod long_statements;
mod operations;
mod prompt;
mod prompt_files;
mod query_server;
mod recovery;
mod results;
mod safe_writes;
mod screen;
mod scripts;
mod sessions;
mod state_file;
mod terminal;
mod tls;

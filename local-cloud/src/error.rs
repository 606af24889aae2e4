//! What can keep the local cloud from starting or serving. Refusals that a client gets are `AwsError` in `query.rs`.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} `{}`", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the local cloud of `{}` is already running as process {pid}", folder.display())]
    AlreadyRunning { folder: PathBuf, pid: String },
    #[error("cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("`{}` is not a state that this version understands: {reason}", path.display())]
    State { path: PathBuf, reason: String },
    #[error("cannot create the certificate of the local databases")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot listen for the signals that stop the local cloud")]
    Signals(#[source] std::io::Error),
    #[error("cannot run `{program}`")]
    Spawn { program: String, source: std::io::Error },
    #[error("`{program}` failed: {output}")]
    Program { program: String, output: String },
    #[error(transparent)]
    Missing(#[from] crate::postgres::Missing),
    #[error("cannot ask database `{database}`")]
    Database { database: String, source: tokio_postgres::Error },
    #[error("database `{database}` does not answer on port {port}: {reason}")]
    Unreachable { database: String, port: u16, reason: String },
}

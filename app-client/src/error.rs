//! What ends the program, and the exit code that says which kind of end it was.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::server_message::ServerMessage;
use crate::{connection, script, target};

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Target(#[from] target::Error),
    #[error(transparent)]
    Connection(#[from] connection::Error),
    #[error(transparent)]
    Script(#[from] script::Error),
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot read the data of COPY from stdin: {source}")]
    CopyInput { source: io::Error },
    #[error("given up at the prompt")]
    CopyGivenUp,
    #[error("cannot write the result: {source}")]
    Output { source: io::Error },
    #[error("whoever reads the output has left, so the rest was not run")]
    NobodyReads,
    #[error(
        "{place}this ended the transaction that `--single-transaction` began, so what came before it is settled"
    )]
    TransactionEnded { place: String },
    #[error("signals such as Ctrl-C cannot be handled: {source}")]
    Interrupt { source: io::Error },
    #[error("the terminal cannot be used: {source}")]
    Terminal { source: io::Error },
    #[error("nothing to run: the output is not a terminal, so there is no prompt")]
    NothingToRun,
    #[error("{after_rows} {} of the result had come when {source}", if *after_rows == 1 { "row" } else { "rows" })]
    CutResult { after_rows: u64, source: connection::Error },
    #[error("the login works, but `{sql}` is answered with {}", message.headline())]
    Unanswered { sql: &'static str, message: Box<ServerMessage> },
    #[error("the login works, but {source}")]
    ShortSession { source: connection::Error },
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Target(_) | Self::NothingToRun | Self::File { .. } => 2,
            Self::Connection(error) if !error.is_after_login() => 3,
            _ => 1,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Target(error) => error.hint(),
            Self::Connection(error) => error.hint(),
            Self::CutResult { source, .. } => source.hint(),
            Self::Unanswered { message, .. } => Some(unanswered_hint(message)),
            Self::ShortSession { .. } => Some(
                "run it again; if sessions always end so soon, the log of the server, or of what stands before it, says why"
                    .to_owned(),
            ),
            Self::TransactionEnded { .. } => Some(
                "take COMMIT and ROLLBACK out of the statements, or leave `--single-transaction` out"
                    .to_owned(),
            ),
            Self::NothingToRun => {
                Some("give a statement with `-c`, a file with `-f`, or pipe statements in".to_owned())
            }
            _ => None,
        }
    }

    /// The reader of our stdout has seen enough: `app-client ... | head`.
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// For a statement that asks for no right and no table.
fn unanswered_hint(message: &ServerMessage) -> String {
    match (&message.hint, message.sqlstate.as_str()) {
        (Some(hint), _) => hint.clone(),
        // idle_session_timeout
        (None, "57P05") => {
            "the server ends sessions that wait; who runs it can raise `idle_session_timeout`".to_owned()
        }
        (None, sqlstate) if connection::is_unavailable(sqlstate) => {
            "the server is starting, draining or full: try again in a moment".to_owned()
        }
        _ => "who runs the server should see this line: no statement can work".to_owned(),
    }
}

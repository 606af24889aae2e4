//! Programs of this machine: started with a list of arguments, never through a shell, and stopped with the run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::{Error, Kind};

/// What a program prints may be as long as a text of a playbook; more is a mistake.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A program and how it is started.
#[derive(Debug, Clone, Default)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    variables: Vec<(String, String)>,
    input: String,
    timeout: Option<Duration>,
}

/// How a program has ended.
#[derive(Debug)]
pub struct Ran {
    /// `None` where a signal has ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Command {
    pub fn new(program: &str) -> Self {
        Command { program: program.to_owned(), ..Command::default() }
    }

    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the program reads from its standard input.
    #[must_use]
    pub fn input(mut self, input: String) -> Self {
        self.input = input;
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Runs a program to its end. Fails where it cannot be started, or takes too long; how it ends is for the caller to judge.
pub async fn run(command: &Command) -> Result<Ran, Error> {
    let program = &command.program;
    let mut child = tokio::process::Command::new(program);
    child
        .args(&command.arguments)
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // In a group of its own: Ctrl-C is for the run, which ends it.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &command.folder {
        child.current_dir(folder);
    }
    let mut child = child.spawn().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(Kind::NotFound, format!("there is no program `{program}`"))
                .help("install it, or give its whole path")
        }
        _ => Error::io(format_args!("start {program}"), &source),
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input is none the worse for it.
            _ = stdin.write_all(command.input.as_bytes()).await;
        }
    };
    let exchange = async {
        let ((), stdout, stderr, status) = tokio::join!(feed, text(stdout), text(stderr), child.wait());
        let failed = |source| Error::io(format_args!("read what {program} prints"), &source);
        let status = status.map_err(|source| Error::io(format_args!("wait for {program}"), &source))?;
        Ok(Ran { code: status.code(), stdout: stdout.map_err(failed)?, stderr: stderr.map_err(failed)? })
    };
    match command.timeout {
        None => exchange.await,
        Some(limit) => tokio::time::timeout(limit, exchange).await.map_err(|_| {
            Error::new(
                Kind::Timeout,
                format!("{program} did not end in {}", format_args!("{} s", limit.as_secs())),
            )
        })?,
    }
}

async fn text(pipe: Option<impl AsyncReadExt + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(LONGEST);
        pipe.read_to_end(&mut bytes).await?;
        if pipe.limit() == 0 {
            return Err(std::io::Error::other("it is longer than 16 MiB"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

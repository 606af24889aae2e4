//! Runs what the command line names, in its order, and leaves.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::activity::Observer;
use crate::cli::{OnError, Run};
use crate::connection::Connection;
use crate::error::Error;
use crate::interrupt::{self, Interrupt};
use crate::output::{Output, Style};
use crate::password::Passwords;
use crate::prompt;
use crate::run::{Outcome, Runner};
use crate::script::{Script, Statement, Variables};
use crate::target::Place;

/// Something to run.
enum Source {
    Command(String),
    File(PathBuf),
    Stdin,
}

/// Where the values of `-c` and of `-f` stand on the command line.
pub(crate) type Order = (Vec<usize>, Vec<usize>);

pub(crate) fn run(
    flags: Run,
    order: Order,
    place: &Place,
    style: Style,
    interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let Run { commands, files, variables, on_error, single_transaction } = flags;
    let variables: Variables = variables.into_iter().collect();
    let sources = match sources(commands, files, order) {
        Some(sources) => sources,
        None if io::stdout().is_terminal() => {
            return prompt::run(place, variables, style, interrupt).map(|()| ExitCode::SUCCESS);
        }
        None => return Err(Error::NothingToRun),
    };
    // A name that is wrong should not be found out when half of the work is done.
    for source in &sources {
        if let Source::File(path) = source {
            fs::metadata(path).map_err(|source| Error::File { path: path.clone(), source })?;
        }
    }
    let target = Arc::new(place.resolve()?);
    let mut passwords = Passwords::default();
    let mut runner = Runner {
        connection: Connection::open(&target, &mut passwords)?,
        output: Output::stdout(style).map_err(|source| Error::Output { source })?,
        interrupt,
        observer: Observer::new(target, &passwords),
        tag: String::new(),
        failure: None,
    };
    if single_transaction {
        runner.execute("begin")?;
    }
    let mut worst = Outcome::Done;
    let mut sources = sources.into_iter();
    while let Some(source) = sources.next() {
        let outcome = match run_source(&mut runner, source, &variables, on_error, single_transaction) {
            Err(error) if error.is_closed_output() && (sources.len() > 0 || single_transaction) => {
                return Err(Error::NobodyReads);
            }
            outcome => outcome?,
        };
        match outcome {
            Outcome::Done => {}
            Outcome::Failed if on_error == OnError::Continue => worst = Outcome::Failed,
            outcome => {
                worst = outcome;
                break;
            }
        }
    }
    // Leaving without a commit is the rollback.
    if single_transaction && worst == Outcome::Done {
        worst = runner.execute("commit")?;
    }
    if single_transaction && worst != Outcome::Done {
        remark!("rolled back: nothing was kept");
    }
    runner.connection.close();
    Ok(match worst {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(1),
        Outcome::Interrupted => ExitCode::from(interrupt::EXIT_CODE),
    })
}

/// `None` when nothing is named and somebody sits at the keyboard.
fn sources(commands: Vec<String>, files: Vec<PathBuf>, order: Order) -> Option<Vec<Source>> {
    let commands = commands.into_iter().map(Source::Command);
    let files = files.into_iter().map(|path| match path.as_os_str() == "-" {
        true => Source::Stdin,
        false => Source::File(path),
    });
    let mut sources: Vec<(usize, Source)> =
        order.0.into_iter().zip(commands).chain(order.1.into_iter().zip(files)).collect();
    sources.sort_by_key(|(index, _)| *index);
    if sources.is_empty() {
        return (!io::stdin().is_terminal()).then(|| vec![Source::Stdin]);
    }
    Some(sources.into_iter().map(|(_, source)| source).collect())
}

fn run_source(
    runner: &mut Runner,
    source: Source,
    variables: &Variables,
    on_error: OnError,
    single_transaction: bool,
) -> Result<Outcome, Error> {
    match source {
        Source::Command(text) => {
            let outcome = runner.run(&Statement { text, line: 1 }, None, &mut stdin_piece)?;
            still_within(runner, single_transaction, String::new).map(|()| outcome)
        }
        Source::File(path) => {
            let file = File::open(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            run_script(runner, BufReader::new(file), &path, variables, on_error, single_transaction)
        }
        Source::Stdin => run_script(
            runner,
            io::stdin().lock(),
            Path::new("stdin"),
            variables,
            on_error,
            single_transaction,
        ),
    }
}

fn run_script(
    runner: &mut Runner,
    input: impl BufRead,
    path: &Path,
    variables: &Variables,
    on_error: OnError,
    single_transaction: bool,
) -> Result<Outcome, Error> {
    let mut script = Script::new(input, path.display().to_string(), variables.clone());
    let mut worst = Outcome::Done;
    while let Some(statement) = script.next()? {
        let name = script.name().to_owned();
        let outcome = match runner.run(&statement, Some(&name), &mut |line| Ok(script.copy_line(line)?)) {
            Err(error) if error.is_closed_output() && matches!(script.next(), Ok(Some(_))) => {
                return Err(Error::NobodyReads);
            }
            outcome => outcome?,
        };
        still_within(runner, single_transaction, || format!("{name}:{}: ", statement.line))?;
        match outcome {
            Outcome::Done => {}
            Outcome::Failed if on_error == OnError::Continue => worst = Outcome::Failed,
            outcome => return Ok(outcome),
        }
    }
    Ok(worst)
}

/// All of it or nothing was promised; a COMMIT within takes that out of our hands.
fn still_within(
    runner: &Runner,
    single_transaction: bool,
    place: impl FnOnce() -> String,
) -> Result<(), Error> {
    let ended = single_transaction && runner.connection.transaction == b'I';
    if ended { Err(Error::TransactionEnded { place: place() }) } else { Ok(()) }
}

/// COPY FROM STDIN of a `-c` takes the program's own stdin, as it is.
fn stdin_piece(piece: &mut Vec<u8>) -> Result<bool, Error> {
    piece.resize(64 * 1024, 0);
    let read = io::stdin().read(piece).map_err(|source| Error::CopyInput { source })?;
    piece.truncate(read);
    Ok(read > 0)
}

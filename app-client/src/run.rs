//! Runs statements and shows what the server answers: rows and command tags on stdout, notices and
//! errors on stderr, never out of order.

use std::io;

use crate::activity::Observer;
use crate::connection::{self, Connection};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::keyboard::{self, Aside};
use crate::output::{Output, RowBuffer, RowWriter, columns};
use crate::progress::Progress;
use crate::script::Statement;
use crate::server_message::ServerMessage;

/// Looking at the clock for each row would cost more than printing it.
const ROWS_BETWEEN_LOOKS: u64 = 4096;

const QUERY_CANCELED: &str = "57014";
/// The query server says with it what the tier may do; another PostgreSQL says nothing.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

const IN_FAILED_TRANSACTION: &str = "25P02";
const SYNTAX_ERROR: &str = "42601";

/// How a statement, or a string of several, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed,
    Interrupted,
}

/// The next piece of data for COPY FROM STDIN; false when there is no more.
pub(crate) type CopyInput<'a> = dyn FnMut(&mut Vec<u8>) -> Result<bool, Error> + 'a;

pub(crate) struct Runner {
    pub(crate) connection: Connection,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
    pub(crate) observer: Observer,
    /// The command tag of the last statement, `COPY 3`.
    pub(crate) tag: String,
    /// The last error that a statement was answered with.
    pub(crate) failure: Option<ServerMessage>,
}

/// The result that is being received.
struct Receiving {
    writer: Box<dyn RowWriter>,
    columns: usize,
    rows: u64,
}

impl Runner {
    /// `name` is the script that the statement is from, for messages.
    pub(crate) fn run(
        &mut self,
        statement: &Statement,
        name: Option<&str>,
        copy_input: &mut CopyInput<'_>,
    ) -> Result<Outcome, Error> {
        if !self.begins() {
            return Ok(Outcome::Interrupted);
        }
        let sent = self.connection.query(&statement.text);
        self.answer(sent, statement, name, copy_input)
    }

    /// Whether there is to be a statement: Ctrl-C may have been pressed before it is sent.
    fn begins(&self) -> bool {
        let begins = self.interrupt.watch(self.connection.canceller());
        if !begins {
            remark!("cancelled before it was sent");
        }
        begins
    }

    /// Runs one statement with the values of its parameters.
    pub(crate) fn run_with(&mut self, sql: &str, arguments: &[String]) -> Result<Outcome, Error> {
        let statement = Statement { text: sql.to_owned(), line: 1 };
        if !self.begins() {
            return Ok(Outcome::Interrupted);
        }
        let sent = self.connection.query_with(sql, arguments);
        self.answer(sent, &statement, None, &mut |_| Ok(false))
    }

    fn answer(
        &mut self,
        sent: Result<(), connection::Error>,
        statement: &Statement,
        name: Option<&str>,
        copy_input: &mut CopyInput<'_>,
    ) -> Result<Outcome, Error> {
        let answered = sent.map_err(Error::from).and_then(|()| self.receive(statement, name, copy_input));
        let interrupted = self.interrupt.finish();
        // What has come stays visible, whatever happened after it.
        let flushed = self.output.finish().map_err(|source| Error::Output { source });
        self.interrupt.yield_to_the_end();
        let failed = answered?;
        flushed?;
        Ok(match (interrupted, failed) {
            (true, _) => Outcome::Interrupted,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Done,
        })
    }

    /// Runs a statement that shows nothing unless it fails.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<Outcome, Error> {
        let style = self.output.style;
        self.output.style.tuples_only = true;
        let statement = Statement { text: sql.to_owned(), line: 1 };
        let outcome = self.run(&statement, None, &mut |_| Ok(false));
        self.output.style = style;
        outcome
    }

    /// Reads until the server is ready again. True if there was an error.
    fn receive(
        &mut self,
        statement: &Statement,
        name: Option<&str>,
        copy_input: &mut CopyInput<'_>,
    ) -> Result<bool, Error> {
        let Self { connection, output, interrupt, observer, tag: last_tag, failure } = self;
        // What is typed ahead of a script is for the shell that follows it.
        let _keys = interrupt.stays().then(Aside::begin).flatten();
        let written = |source| Error::Output { source };
        let mut buffer = RowBuffer::default();
        let mut receiving: Option<Receiving> = None;
        let mut failed = false;
        let mut copied_out = false;
        let mut unwanted = false;
        let mut progress = Progress::start(observer, connection.process_id());
        loop {
            let frame = match connection.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    interrupt.insist();
                    output.let_go(receiving.as_mut().map(|result| result.writer.as_mut()));
                    if output.is_pending() {
                        progress.clear();
                    }
                    output.flush().map_err(written)?;
                    if output.has_a_line_below() {
                        progress.tick(receiving.as_ref().map_or(0, |result| result.rows));
                    }
                    continue;
                }
                Err(source) => {
                    progress.clear();
                    return Err(cut(receiving, output, source));
                }
            };
            if frame.tag != b'D' || output.is_watched() {
                progress.clear();
            }
            match frame.tag {
                b'D' => {
                    let result = receiving.as_mut().ok_or_else(|| broken("a row without columns"))?;
                    let row = buffer
                        .read(frame.body, result.columns)
                        .ok_or_else(|| broken("a row that is not as announced"))?;
                    result.rows += 1;
                    if result.rows % ROWS_BETWEEN_LOOKS == 0 {
                        interrupt.insist();
                        // On a screen the rows that stream by say as much.
                        if !output.is_watched() {
                            progress.tick(result.rows);
                        }
                    }
                    output.row(result.writer.as_mut(), row).map_err(written)?;
                    if !unwanted && output.is_left() {
                        unwanted = true;
                        give_up(connection);
                    }
                }
                b'T' => {
                    let columns = columns(frame.body).ok_or_else(|| broken("columns that cannot be read"))?;
                    let count = columns.len();
                    receiving = Some(Receiving { writer: output.begin(columns), columns: count, rows: 0 });
                }
                b'C' => {
                    let tag = frame.body.split(|byte| *byte == 0).next().unwrap_or_default();
                    *last_tag = String::from_utf8_lossy(tag).into_owned();
                    let had_rows = receiving.is_some();
                    if let Some(mut result) = receiving.take() {
                        output.end(result.writer.as_mut(), result.rows).map_err(written)?;
                    }
                    // Of the statements with rows only a write with RETURNING says more with its tag.
                    if output.style.shows_tags() && (!had_rows || is_write(tag)) {
                        // After the data of a COPY TO STDOUT the tag would be taken for a row of it.
                        if !std::mem::take(&mut copied_out) {
                            output.raw(&[tag, b"\n"].concat()).map_err(written)?;
                        }
                    }
                }
                b'E' | b'N' => {
                    let message = ServerMessage::parse(frame.body);
                    if frame.tag == b'E' {
                        failed = true;
                        *failure = Some(message.clone());
                        // The rows that came before the error are shown, without a footer that counts them.
                        abandon(receiving.take(), output).map_err(written)?;
                    }
                    output.flush().map_err(written)?;
                    // Who left the pager has asked for the cancellation, and need not hear of it.
                    if unwanted && message.sqlstate == QUERY_CANCELED {
                        failed = false;
                    } else {
                        report(&message, statement, name);
                    }
                }
                b'G' => {
                    // They may be the data.
                    keyboard::restore();
                    copy_in(connection, copy_input)?;
                }
                b'd' => output.raw(frame.body).map_err(written)?,
                b'S' => {
                    let body = frame.body.to_vec();
                    connection.parameter_status(&body);
                }
                b'Z' => {
                    connection.transaction = frame.body.first().copied().unwrap_or(b'I');
                    return Ok(failed);
                }
                b'H' => copied_out = true,
                // EmptyQueryResponse, CopyDone, NotificationResponse; ParseComplete, BindComplete, NoData.
                b'I' | b'c' | b'A' | b'1' | b'2' | b'n' => {}
                other => return Err(broken(&format!("a message of type `{}`", char::from(other)))),
            }
        }
    }
}

/// Asks the server to stop; what has been sent already is read and dropped.
fn give_up(connection: &Connection) {
    let canceller = connection.canceller();
    std::thread::spawn(move || {
        if let Err(error) = canceller.cancel() {
            remark!("warning: the statement could not be cancelled: {error}");
        }
    });
}

fn is_write(tag: &[u8]) -> bool {
    ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|word| tag.starts_with(word.as_bytes()))
}

fn broken(what: &str) -> Error {
    connection::Error::Protocol { what: what.to_owned() }.into()
}

/// Lets go of rows that are held back for their widths.
fn abandon(receiving: Option<Receiving>, output: &mut Output) -> io::Result<()> {
    match receiving {
        Some(mut result) if result.rows > 0 => output.abandon(result.writer.as_mut()),
        _ => Ok(()),
    }
}

/// The connection ended while rows were coming.
fn cut(receiving: Option<Receiving>, output: &mut Output, source: connection::Error) -> Error {
    let after_rows = receiving.as_ref().map_or(0, |result| result.rows);
    if let Err(source) = abandon(receiving, output) {
        return Error::Output { source };
    }
    if after_rows > 0 { Error::CutResult { after_rows, source } } else { source.into() }
}

fn report(message: &ServerMessage, statement: &Statement, name: Option<&str>) {
    let mut report = message.render(&statement.text, statement.line);
    if message.sqlstate == INSUFFICIENT_PRIVILEGE && message.hint.is_none() {
        report.push_str(
            "\nHINT: this login lacks that right; its owner can GRANT it, or log in with another `--user`",
        );
    }
    if message.sqlstate == IN_FAILED_TRANSACTION {
        report.push_str("\nHINT: an earlier statement of this transaction failed; `rollback` ends it");
    }
    if let Some(variable) = unset_variable(message, &statement.text) {
        report.push_str(&format!(
            "\nHINT: no variable `{variable}` is set: `-v {variable}=VALUE` for a file or stdin (`-c` takes none), \
             `\\set {variable} VALUE` at the prompt"
        ));
    }
    match name {
        Some(name) => remark!("{name}:{}: {report}", statement.line),
        None => remark!("{report}"),
    }
}

/// The variable that was not filled in, if it is what the server stumbled over.
fn unset_variable<'a>(message: &ServerMessage, sql: &'a str) -> Option<&'a str> {
    if message.sqlstate != SYNTAX_ERROR {
        return None;
    }
    let (at, _) = sql.char_indices().nth(message.position?.checked_sub(1)?)?;
    let name = sql[at..].strip_prefix(':')?.trim_start_matches(['\'', '"']);
    let end = name.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(name.len());
    (end > 0).then(|| &name[..end])
}

fn copy_in(connection: &mut Connection, input: &mut CopyInput<'_>) -> Result<(), Error> {
    let mut piece = Vec::new();
    loop {
        match input(&mut piece) {
            Ok(true) => connection.copy_data(&piece)?,
            Ok(false) => return Ok(connection.copy_done()?),
            // The server answers with an error, and the session goes on.
            Err(error @ Error::CopyGivenUp) => return Ok(connection.copy_fail(&error.to_string())?),
            Err(error) => {
                // The server must not take half of the data for all of it.
                connection.copy_fail(&error.to_string())?;
                return Err(error);
            }
        }
    }
}

//! Small questions of the program itself, whose whole answer fits in memory.

use super::{Connection, Error, unexpected};
use crate::output::{RowBuffer, columns};
use crate::server_message::ServerMessage;

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// The command tag, `UPDATE 1`.
    pub(crate) tag: String,
    pub(crate) error: Option<ServerMessage>,
}

impl Connection {
    /// Sends `sql` and gathers what comes back.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Answer, Error> {
        self.query(sql)?;
        let mut answer = Answer::default();
        let mut width = 0;
        let mut buffer = RowBuffer::default();
        loop {
            let frame = match self.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => continue,
                // The server has said why it ends the session, and that is its answer.
                Err(_) if answer.error.as_ref().is_some_and(ServerMessage::is_farewell) => return Ok(answer),
                Err(error) => return Err(error),
            };
            match frame.tag {
                b'T' => width = columns(frame.body).ok_or_else(|| unexpected(b'T'))?.len(),
                b'D' => {
                    let row = buffer.read(frame.body, width).ok_or_else(|| unexpected(b'D'))?;
                    let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
                    answer.rows.push(row.cells().map(|cell| cell.map(text)).collect());
                }
                b'C' => {
                    let tag = frame.body.split(|byte| *byte == 0).next().unwrap_or_default();
                    answer.tag = String::from_utf8_lossy(tag).into_owned();
                }
                b'E' => answer.error = Some(ServerMessage::parse(frame.body)),
                b'S' => {
                    let body = frame.body.to_vec();
                    self.parameter_status(&body);
                }
                b'Z' => {
                    self.transaction = frame.body.first().copied().unwrap_or(b'I');
                    return Ok(answer);
                }
                b'N' | b'I' | b'A' => {}
                other => return Err(unexpected(other)),
            }
        }
    }
}

//! The lines of one session in the audit trail, made as its statements end. They are put together by hand, into a buffer that
//! stays: a record for each statement must cost little beside the statement.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::redaction::redact;
use crate::standard_output::Written;

/// A buffer that a long statement has grown beyond this is not kept for the next one.
const KEPT_BYTES: usize = 4 * 1024;

/// Who did it.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) session: u32,
    pub(crate) user: String,
    pub(crate) tier: &'static str,
    pub(crate) client: SocketAddr,
}

/// What came of a statement.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'a str,
    /// Which of a simple query's outcomes this is, from 1. The text is in the record of the first, and in that of the one which fails:
    /// it is the last.
    pub(crate) part: u32,
    /// The command tag, for one that succeeded.
    pub(crate) tag: Option<&'a str>,
    pub(crate) rows: Option<u64>,
    /// Of the rows that were answered, as they are on the wire.
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
    /// Five zeros for success; none for a statement whose outcome nobody waited for.
    pub(crate) sqlstate: Option<&'a str>,
    /// Its portal has stopped after the rows that were asked for, and the whole is told when that ends.
    pub(crate) is_suspended: bool,
}

impl<'a> Statement<'a> {
    /// One of which nothing has come yet.
    pub(crate) fn of(sql: &'a str) -> Self {
        let (rows, bytes, duration) = (None, 0, Duration::ZERO);
        Self { sql, part: 1, tag: None, rows, bytes, duration, sqlstate: None, is_suspended: false }
    }

    pub(crate) fn outcome(&self) -> &'static str {
        match self.sqlstate {
            _ if self.is_suspended => "suspended",
            None => "abandoned",
            Some("00000") => "success",
            Some("42501") => "denied",
            Some("57014") => "cancelled",
            Some(_) => "error",
        }
    }
}

/// Lines that are not yet written.
pub(crate) struct Lines {
    /// What all records of the actor say, as members of a JSON object.
    actor: Vec<u8>,
    /// A second, and how it is shown: only the fraction changes from line to line.
    second: (i64, String),
    pub(crate) waiting: Vec<u8>,
    /// Some that are being written by somebody else.
    pub(crate) under_way: Option<Written>,
}

impl Lines {
    pub(crate) fn new(actor: &Actor) -> Self {
        let mut members = Vec::with_capacity(128);
        // Writing to a Vec cannot fail.
        let _ = write!(members, r#""session":"{:08x}","user":"#, actor.session);
        put_string(&mut members, &actor.user);
        let _ = write!(members, r#","tier":"{}","client":"{}""#, actor.tier, actor.client);
        Self { actor: members, second: (i64::MIN, String::new()), waiting: Vec::new(), under_way: None }
    }

    /// A record of the server's own: it serves from now on.
    pub(crate) fn serving() -> Self {
        let mut lines = Self {
            actor: br#""session":null,"user":null,"tier":null,"client":null"#.to_vec(),
            second: (i64::MIN, String::new()),
            waiting: Vec::new(),
            under_way: None,
        };
        lines.begin("serving");
        lines.waiting.extend_from_slice(b"}\n");
        lines
    }

    pub(crate) fn login(&mut self, sqlstate: &str, reason: &str) {
        self.begin("login");
        let outcome = if sqlstate == "00000" { "success" } else { "failed" };
        let out = &mut self.waiting;
        let _ = write!(out, r#","outcome":"{outcome}","sqlstate":"#);
        put_string(out, sqlstate);
        out.extend_from_slice(br#","reason":"#);
        put_string(out, reason);
        out.extend_from_slice(b"}\n");
    }

    pub(crate) fn statement(&mut self, statement: &Statement<'_>, redacts_literals: bool) {
        self.begin("statement");
        let out = &mut self.waiting;
        out.extend_from_slice(br#","sql":"#);
        if statement.part > 1 && statement.sqlstate == Some("00000") {
            out.extend_from_slice(b"null");
        } else if redacts_literals {
            put_string(out, &redact(statement.sql));
        } else {
            put_string(out, statement.sql);
        }
        if statement.part > 1 {
            let _ = write!(out, r#","part":{}"#, statement.part);
        }
        out.extend_from_slice(br#","outcome":"#);
        put_string(out, statement.outcome());
        out.extend_from_slice(br#","tag":"#);
        put_optional(out, statement.tag);
        out.extend_from_slice(br#","rows":"#);
        match statement.rows {
            Some(rows) => put_number(out, rows, 1),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","bytes":"#);
        put_number(out, statement.bytes, 1);
        let duration_us = u64::try_from(statement.duration.as_micros()).unwrap_or(u64::MAX);
        out.extend_from_slice(br#","duration_ms":"#);
        put_number(out, duration_us / 1000, 1);
        out.push(b'.');
        put_number(out, duration_us % 1000, 3);
        out.extend_from_slice(br#","sqlstate":"#);
        put_optional(out, statement.sqlstate);
        out.extend_from_slice(b"}\n");
    }

    /// What every record begins with: when, what, who.
    fn begin(&mut self, kind: &str) {
        let now = Timestamp::now();
        if self.second.0 != now.as_second() {
            let mut shown = format!("{now:.0}");
            shown.pop();
            self.second = (now.as_second(), shown);
        }
        let milliseconds = now.subsec_millisecond().unsigned_abs();
        let out = &mut self.waiting;
        out.extend_from_slice(br#"{"time":""#);
        out.extend_from_slice(self.second.1.as_bytes());
        out.push(b'.');
        put_number(out, milliseconds.into(), 3);
        out.extend_from_slice(br#"Z","audit":"#);
        put_string(out, kind);
        out.push(b',');
        out.extend_from_slice(&self.actor);
    }

    /// Forgets what has been written.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_BYTES);
    }
}

/// A number of at least so many digits.
fn put_number(out: &mut Vec<u8>, number: u64, digits: usize) {
    let (mut room, mut place, mut rest) = ([b'0'; 20], 20, number);
    while rest > 0 {
        place -= 1;
        room[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&room[place.min(room.len() - digits)..]);
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// A JSON string. Every control character is escaped, so a record is one line whatever the client sent.
fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_one_line_of_json_that_says_the_same() {
        let every_character: String =
            (0..0x300).filter_map(char::from_u32).chain("\u{2028}🎵".chars()).collect();
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let actor = Actor { session: 0xbeef, user: every_character.clone(), tier: "free", client };
        let mut lines = Lines::new(&actor);
        let statement = Statement {
            sql: &every_character,
            part: 1,
            tag: Some("SELECT 3"),
            rows: Some(3),
            bytes: 70,
            duration: Duration::from_micros(1_002_003),
            sqlstate: Some("00000"),
            is_suspended: false,
        };
        lines.statement(&statement, false);
        lines.statement(&Statement { tag: None, rows: None, sqlstate: None, ..statement }, false);
        lines.statement(&Statement { part: 2, ..statement }, false);
        lines.login("28P01", &every_character);
        let text = String::from_utf8(lines.waiting.clone()).unwrap();
        let records: Vec<serde_json::Value> =
            text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 4);
        for record in &records {
            assert_eq!(record["user"], *every_character);
            assert_eq!(record["session"], "0000beef");
            let time: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
            assert!(Timestamp::now().duration_since(time).as_secs() < 60, "{time}");
        }
        assert_eq!(records[0]["sql"], *every_character);
        assert_eq!(records[0]["duration_ms"], 1002.003);
        assert_eq!(records[0]["bytes"], 70);
        assert_eq!(records[1]["outcome"], "abandoned");
        assert!(records[1]["tag"].is_null() && records[1]["rows"].is_null());
        assert!(records[2]["sql"].is_null() && records[2]["part"] == 2);
        assert_eq!(records[3]["reason"], *every_character);
        lines.clear();
        assert!(lines.waiting.is_empty());
    }
}

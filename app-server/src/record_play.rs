//! The free tier's only write: `select record_play(<content>)`, alone, outside a transaction block. Free sessions are read-only, so the
//! server makes the one transaction that it runs in read-write.
//!
//! This opens nothing: what may be written is decided by grants, and `record_play` is all that a free role may execute.

use bytes::{BufMut as _, BytesMut};

use crate::wire::{put_message, put_text};

const READ_WRITE: &str = "set transaction read write";

/// Whether this is exactly that statement, with a parameter or a number.
pub(crate) fn is_record_play(sql: &str) -> bool {
    let sql = sql.trim();
    let sql = sql.strip_suffix(';').unwrap_or(sql).trim_end().to_ascii_lowercase();
    let argument = sql
        .strip_prefix("select")
        .filter(|rest| rest.starts_with(|character: char| character.is_ascii_whitespace()))
        .and_then(|rest| rest.trim_start().strip_prefix("record_play"))
        .and_then(|rest| rest.trim_start().strip_prefix('('))
        .and_then(|rest| rest.strip_suffix(')'))
        .map(str::trim);
    argument.is_some_and(|argument| {
        let digits = argument.strip_prefix('$').unwrap_or(argument);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The simple query with what makes its transaction read-write in front: one more CommandComplete comes back, first.
pub(crate) fn read_write_query(sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    put_message(&mut out, b'Q', |body| put_text(body, &format!("{READ_WRITE}; {sql}")));
    out
}

/// The same in front of a batch of the extended protocol, under names of its own. It is answered up to CloseComplete.
pub(crate) fn read_write_step() -> BytesMut {
    const NAME: &str = "app_read_write";
    let mut out = BytesMut::new();
    put_message(&mut out, b'P', |body| {
        put_text(body, NAME);
        put_text(body, READ_WRITE);
        body.put_u16(0);
    });
    put_message(&mut out, b'B', |body| {
        put_text(body, NAME);
        put_text(body, NAME);
        body.put_bytes(0, 6);
    });
    put_message(&mut out, b'E', |body| {
        put_text(body, NAME);
        body.put_u32(0);
    });
    put_message(&mut out, b'C', |body| {
        body.put_u8(b'S');
        put_text(body, NAME);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::is_record_play;

    #[test]
    fn only_the_very_statement_is_recognised() {
        for sql in ["select record_play($1)", " SELECT  record_play ( 42 ) ; ", "select record_play(7)"] {
            assert!(is_record_play(sql), "{sql}");
        }
        for sql in [
            "select record_play(1), 2",
            "select record_play(1); delete from content",
            "select record_play(1) from (select 2)",
            "select record_play((select 1))",
            "selectrecord_play(1)",
            "select record_play()",
            "select record_play($)",
            "select other(1)",
        ] {
            assert!(!is_record_play(sql), "{sql}");
        }
    }
}

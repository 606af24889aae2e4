//! How a refusal reaches the client: the messages that are not passed on, what the database gets in their place, and how its
//! own denials are explained.

use bytes::{BufMut as _, BytesMut};

use crate::allow_list;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, error_field, put_message, put_text, take_text};

/// How many statements a message runs, as far as they are counted. `Err` says why it is not passed on.
pub(crate) fn of_message(tier: Tier, kind: u8, body: &[u8]) -> Result<u64, ErrorResponse> {
    let rest = &mut { body };
    match kind {
        // It runs a function without a statement that could be read; PostgreSQL itself calls it obsolete.
        b'F' => Err(ErrorResponse::error("0A000", "the FunctionCall message is not served")
            .with_hint("call the function in a SELECT")),
        // Counted when it is executed, or has failed (`Ledger::take_unexecuted`).
        b'P' => {
            take_text(rest);
            allow_list::check(tier, take_text(rest).unwrap_or_default()).map(|_| 0)
        }
        b'Q' => allow_list::check(tier, take_text(rest).unwrap_or_default()).map(|count| count.max(1)),
        b'E' => Ok(1),
        _ => Ok(0),
    }
}

/// What is sent to the database instead: a syntax error. So the refusal comes in its turn and does to the batch and the
/// transaction what any error does; the ledger puts our words into it.
pub(crate) fn substitute(kind: u8, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    if matches!(kind, b'P' | b'E') {
        // The statement of that name is not to be had any more; a refused Execute takes the unnamed one.
        let name = if kind == b'P' { take_text(&mut { body }).unwrap_or_default() } else { b"" };
        put_message(&mut out, b'P', |message| {
            message.extend_from_slice(name);
            message.put_u8(0);
            put_text(message, "refused");
            message.put_u16(0);
        });
    } else {
        put_message(&mut out, b'Q', |message| put_text(message, "refused"));
    }
    out
}

/// A denial with a HINT that names the tier and what it may do.
///
/// A free session is read-only, and PostgreSQL checks that before it checks grants: what it then reports as 25006 is a denial to
/// the person, who has no grant for it either.
pub(crate) fn explain_denial(body: &[u8], tier: Tier) -> Option<BytesMut> {
    let read_only = tier == Tier::Free && error_field(body, b'C') == Some(b"25006");
    if !read_only && error_field(body, b'C') != Some(b"42501") {
        return None;
    }
    let own_hint = error_field(body, b'H');
    let mut fields = body.strip_suffix(&[0])?;
    let mut out = BytesMut::new();
    put_message(&mut out, b'E', |body| {
        while let Some((kind, rest)) = fields.split_first() {
            fields = rest;
            let Some(value) = take_text(&mut fields) else { break };
            if *kind == b'H' {
                continue;
            }
            body.put_u8(*kind);
            body.extend_from_slice(if *kind == b'C' { b"42501" } else { value });
            body.put_u8(0);
        }
        body.put_u8(b'H');
        if let Some(hint) = own_hint {
            body.extend_from_slice(hint);
            body.put_u8(b' ');
        }
        put_text(body, tier.hint());
        body.put_u8(0);
    });
    Some(out)
}

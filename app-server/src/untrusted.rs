//! Everything that reads bytes from outside, as functions of any bytes: the doors that the tests in `malformed` and the fuzzers in
//! `app-server/fuzz` knock at. None may panic, and each checks what must hold whatever it was given.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::allow_list;
use crate::audit_record::{Actor, Lines, Statement};
use crate::client_settings::{ClientSettings, FOLLOWED};
use crate::http;
use crate::ledger::{Ledger, Turn};
use crate::login::Startup;
use crate::proxy_protocol;
use crate::redaction::redact;
use crate::refusal;
use crate::relay::splice::pass_on;
use crate::scram::{Exchange, Verifier};
use crate::session_state::{deallocated, tie_of};
use crate::tier::Tier;
use crate::wire::{header, put_message, put_text, read_login_message, read_startup_body};

/// Longer messages than any that a fuzzer makes, and shorter than lengths that it makes up.
const MESSAGE_LIMIT: usize = 1 << 20;

/// What reads from a slice never waits.
fn at_once<T>(reading: impl Future<Output = T>) -> T {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => unreachable!("a slice is there as a whole"),
    }
}

/// What a client says first: a length, and a start-up packet.
pub fn start_up(bytes: &[u8]) {
    let Some((length, mut rest)) = bytes.split_first_chunk::<4>() else { return };
    if let Ok(packet) = at_once(read_startup_body(&mut rest, u32::from_be_bytes(*length), 10_000)) {
        start_up_packet(&packet);
    }
    start_up_packet(bytes);
}

fn start_up_packet(packet: &[u8]) {
    if let Ok(startup) = Startup::parse(packet, "music") {
        assert!(!startup.user.is_empty());
        let is_mode = |name: &str| ["role", "options", "replication"].contains(&name);
        assert!(startup.settings.iter().all(|(name, _)| !is_mode(name)));
    }
}

/// Two messages of a SCRAM exchange with a zero between them, after a byte that says what was offered and chosen. `%n` in the
/// second stands for the server's nonce.
pub fn scram(bytes: &[u8]) {
    let Some((choice, messages)) = bytes.split_first() else { return };
    let offered = (choice & 1 != 0).then_some(b"hash".as_slice());
    let mut messages = messages.splitn(2, |byte| *byte == 0);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    if let Ok(exchange) = Exchange::begin(Verifier::mock(b"key", "user"), first, offered, choice & 2 != 0) {
        let nonce = exchange.server_first().split(',').next().unwrap_or_default();
        let nonce = nonce.strip_prefix("r=").unwrap_or_default().to_owned();
        let last = match std::str::from_utf8(last) {
            Ok(text) => text.replace("%n", &nonce).into_bytes(),
            Err(_) => last.to_vec(),
        };
        assert!(exchange.finish(&last).is_err(), "nobody knows this password");
    }
    let _ = Verifier::parse(&String::from_utf8_lossy(messages.next().unwrap_or(bytes)));
    let mut framed = bytes;
    while at_once(read_login_message(&mut framed)).is_ok() {}
}

/// What a load balancer says in front of a connection.
pub fn proxy_header(mut bytes: &[u8]) {
    let peer = SocketAddr::from(([10, 0, 0, 7], 1));
    let _ = at_once(proxy_protocol::read_header(&mut bytes, peer));
}

/// A request whose first byte told that it is one.
pub fn http_request(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    if let Ok(head) = at_once(http::read_head(&mut rest, *first)) {
        let (method, path) = http::requested(&head);
        assert!(method.len() + path.len() <= head.len());
    }
}

/// A statement, after a byte that says whose it is.
pub fn statement(bytes: &[u8]) {
    let Some((choice, sql)) = bytes.split_first() else { return };
    let sql = String::from_utf8_lossy(sql);
    let tier = Tier::ALL[usize::from(*choice) % Tier::ALL.len()];
    let _ = allow_list::check(tier, sql.as_bytes());
    let _ = (redact(&sql), deallocated(&sql), tie_of("SET", &sql), tie_of("CREATE TABLE", &sql));
    let mut settings = ClientSettings::default();
    settings.hear(&sql);
    settings.settle();
    // The server sends them again by itself, past the allow-list.
    for (name, value) in settings.current() {
        assert!(FOLLOWED.contains(&name.as_str()), "{sql}");
        assert!(name != "client_encoding" || allow_list::is_safe_encoding(value), "{sql}");
    }
}

/// A stream of messages, after a byte that says in which pieces it comes: it means the same in pieces and as a whole.
pub fn frames(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let in_pieces = messages(stream.chunks(usize::from(*piece) + 1));
    assert_eq!(in_pieces, messages(std::iter::once(stream)));
}

/// Kind and body of each message as the relay finds them, with the rows that it passes on unseen as one. `None` at the end: one
/// of an impossible length.
fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    let (mut passing, mut passed) = (0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut end_at = 0;
        loop {
            let start = end_at;
            let at = pass_on(&buffer, &mut end_at, &mut passing);
            passed.extend_from_slice(&buffer[start..at]);
            let Some((kind, length)) = header(&buffer, at) else { break };
            if !(5..=MESSAGE_LIMIT).contains(&length) {
                found.push(Some(passed));
                found.push(None);
                return found;
            }
            if kind == b'd' {
                passing = length;
                continue;
            }
            let Some(message) = buffer.get(at..at + length) else { break };
            found.push(Some(std::mem::take(&mut passed)));
            found.push(Some(message.to_vec()));
            end_at += length;
        }
        buffer.drain(..end_at);
    }
    found.push(Some(passed));
    found
}

/// Messages of both ends in any order: what a client asks, and what a database that has lost its mind answers. Each is a byte for
/// who says it and to whom, the message's kind, and a length with as many bytes.
pub fn conversation(mut bytes: &[u8]) {
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let actor = Actor { session: 1, user: "anna@example.com".to_owned(), tier: "free", client };
    let (mut ledger, mut lines) = (Ledger::new(ClientSettings::default()), Lines::new(&actor));
    while let [who, kind, length, rest @ ..] = bytes {
        let (body, next) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = next;
        let mut message = BytesMut::new();
        put_message(&mut message, *kind, |out| out.extend_from_slice(body));
        let body: Bytes = message.freeze().slice(5..);
        say(&mut ledger, &mut lines, *who, *kind, &body);
        let _ = (ledger.is_idle(), ledger.may_release(), ledger.running_since(), ledger.row(body.len()));
    }
    while ledger.abandon(&mut |statement| lines.statement(statement, false)) {}
    for line in lines.waiting.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "{}", line.escape_ascii());
    }
}

fn say(ledger: &mut Ledger, lines: &mut Lines, who: u8, kind: u8, body: &Bytes) {
    match who % 4 {
        0 => {
            if ledger.turn(kind) != Turn::Pass {
                ledger.must_flush();
            } else if let Err(refused) = refusal::of_message(Tier::Free, kind, body) {
                ledger.refused(kind, body, refused);
                let _ = refusal::substitute(kind, body);
            } else {
                let _ = (ledger.replay(kind, body), ledger.begins_record_play(kind, body));
                ledger.client_message(kind, body, Instant::now());
            }
        }
        1 => drop((ledger.take_refusal(body), ledger.is_record_play_query(body))),
        2 => {
            drop(refusal::explain_denial(body, Tier::ALL[usize::from(who / 4) % Tier::ALL.len()]));
            let mut text = BytesMut::new();
            put_text(&mut text, &String::from_utf8_lossy(body));
            assert_eq!(text.iter().filter(|byte| **byte == 0).count(), 1);
        }
        _ => {
            let ended = &mut |statement: &Statement<'_>| lines.statement(statement, false);
            while ledger.tell_of_portal(ended) {}
            let _ = ledger.database_message(kind, body, Instant::now(), ended);
        }
    }
}

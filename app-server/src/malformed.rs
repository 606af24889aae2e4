//! What strangers and broken peers send: mutations of real messages, given to everything that reads bytes from outside. Nothing may
//! panic, and nothing may get in. A case is made of its number, so that one that fails can be run again.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::allow_list;
use crate::audit_record::{Actor, Lines, Statement};
use crate::http::{read_head, requested};
use crate::ledger::Ledger;
use crate::login::Startup;
use crate::proxy_protocol::read_header;
use crate::redaction::redact;
use crate::refusal;
use crate::scram::{Exchange, Verifier};
use crate::session_state::{deallocated, tie_of};
use crate::tier::Tier;
use crate::wire::{put_message, put_text};

/// Of each kind. A debug build makes some ten thousand a second.
const CASES: u64 = 20_000;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A real message with some of its bytes changed, doubled, left out or cut off, or with a piece of another one in it.
    fn mutate(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut bytes = self.pick(seeds).to_vec();
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len() + 1);
            let byte = *self.pick(b"\0\x01\x7f\x80\xff'\"$;-/*,=n\\E ");
            match self.below(6) {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => {
                    let other = *self.pick(seeds);
                    let from = self.below(other.len() + 1);
                    bytes.splice(at..at, other[from..].iter().copied());
                }
                _ if at < bytes.len() => bytes[at] = self.next().to_le_bytes()[0],
                _ => bytes.push(byte),
            }
        }
        bytes
    }
}

fn each_case(run: impl Fn(&mut Random)) {
    for case in 0..CASES {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut Random(case))));
        assert!(outcome.is_ok(), "case {case}");
    }
}

#[test]
fn start_up_packets() {
    let seeds: [&[u8]; 4] = [
        b"\0\x03\0\0user\0a@example.com\0database\0music\0application_name\0psql\0client_encoding\0UTF8\0\0",
        b"\0\x03\0\x02user\0a\0_pq_.extension\0on\0\0",
        b"\0\x03\0\0user\0a\0replication\0database\0options\0-c role=x\0\0",
        b"\x04\xd2\x16/",
    ];
    each_case(|random| {
        if let Ok(startup) = Startup::parse(&random.mutate(&seeds), "music") {
            assert!(!startup.user.is_empty());
            assert!(
                startup
                    .settings
                    .iter()
                    .all(|(name, _)| !["role", "options", "replication"].contains(&name.as_str()))
            );
        }
    });
}

#[test]
fn scram_messages() {
    let first: [&[u8]; 3] =
        [b"n,,n=,r=rOprNGfwEbeRWgbNEkqO", b"y,,n=user,r=abc", b"p=tls-server-end-point,,n=,r=abc"];
    let last: [&[u8]; 2] = [
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        b"c=eSws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ];
    each_case(|random| {
        let message = random.mutate(&first);
        let offered = [Some(&b"hash"[..]), None][random.below(2)];
        let plus = random.below(2) == 0;
        if let Ok(exchange) = Exchange::begin(Verifier::mock(b"key", "user"), &message, offered, plus) {
            let nonce = exchange.server_first().split(',').next().unwrap().to_owned();
            let proof = format!("c=biws,{nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
            let message = random.mutate(&[&last[..], &[proof.as_bytes()]].concat());
            assert!(exchange.finish(&message).is_err(), "nobody knows this password");
        }
        let _ = Verifier::parse(&String::from_utf8_lossy(
            &random.mutate(&[b"SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"]),
        ));
    });
}

#[test]
fn proxy_headers() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seeds: [&[u8]; 2] = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\x07\x30\x39\x1f\x90",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    each_case(|random| {
        let message = random.mutate(&seeds);
        let peer = "10.0.0.7:1".parse().unwrap();
        let _ = runtime.block_on(read_header(&mut message.as_slice(), peer));
    });
}

#[test]
fn http_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seeds: [&[u8]; 2] = [
        b"ET /readyz?x=1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"OST /healthz HTTP/1.0\r\ncontent-length: 9\r\n\r\nabc",
    ];
    each_case(|random| {
        let message = random.mutate(&seeds);
        if let Ok(head) = runtime.block_on(read_head(&mut message.as_slice(), b'G')) {
            let (method, path) = requested(&head);
            assert!(method.len() + path.len() <= head.len());
        }
    });
}

const STATEMENTS: [&[u8]; 8] = [
    b"select title from content where title = 'it''s' -- comment\n",
    b"begin; select $$a$$, $tag$b$tag$, E'\\'' || \"name\"; commit",
    b"set client_encoding to 'UTF8'; reset all; deallocate prepare \"a\"\"b\"",
    b"select set_config('timezone', 'UTC', false) /* /* nested */ */ end",
    b"alter role tier_free password 'x'",
    b"insert into playlist (name) values ('x') on conflict do nothing returning 1",
    b"copy (select 1) to stdout; declare c cursor with hold for select 1",
    b"select U&\"d\\0061ta\", x'ff', 1.5e3, $1::int[], '{}'::jsonb ->> 'a'",
];

#[test]
fn statements() {
    each_case(|random| {
        let message = random.mutate(&STATEMENTS);
        let sql = String::from_utf8_lossy(&message);
        let _ = allow_list::check(*random.pick(&Tier::ALL), &sql);
        let _ = (redact(&sql), deallocated(&sql), tie_of("SET", &sql), tie_of("CREATE TABLE", &sql));
    });
}

/// Messages of both ends in any order: what a client asks, and what a database that has lost its mind answers.
#[test]
fn conversations() {
    let error = b"SERROR\0C42501\0Mpermission denied\0\0";
    let bodies: [&[u8]; 8] = [
        b"\0\0\0\0\0\0",
        b"name\0select 1\0\0\0",
        b"select 1\0",
        b"Sname\0",
        b"SELECT 1\0",
        b"DISCARD ALL\0",
        error,
        b"I",
    ];
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let actor = Actor { session: 1, user: "anna@example.com".to_owned(), tier: "free", client };
    each_case(|random| {
        let mut ledger = Ledger::new();
        let mut lines = Lines::new(&actor);
        for _ in 0..random.below(12) {
            let body = random.mutate(&bodies);
            let kind = *random.pick(b"QPBEDCSHXFdcfpZCEAGWKTI123nNstv\0\xff");
            let mut message = BytesMut::new();
            put_message(&mut message, kind, |out| out.extend_from_slice(&body));
            let body: Bytes = message.freeze().slice(5..);
            match random.below(4) {
                0 => {
                    if let Some(refused) = refusal::of_message(Tier::Free, kind, &body) {
                        ledger.refused(kind, &body, refused);
                        let _ = refusal::substitute(kind, &body);
                    } else {
                        let _ = (ledger.replay(kind, &body), ledger.begins_record_play(kind, &body));
                        ledger.client_message(kind, &body, Instant::now());
                    }
                }
                1 => drop((ledger.take_refusal(&body), ledger.is_record_play_query(&body))),
                2 => drop(refusal::explain_denial(&body, *random.pick(&Tier::ALL))),
                _ => {
                    let ended = &mut |statement: &Statement<'_>| lines.statement(statement, false);
                    let _ = ledger.database_message(kind, &body, Instant::now(), ended);
                }
            }
            let _ = (ledger.is_idle(), ledger.may_release(), ledger.running_since(), ledger.row(body.len()));
        }
        ledger.abandon(&mut |statement| lines.statement(statement, false));
        for line in lines.waiting.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "{}", line.escape_ascii());
        }
        let mut text = BytesMut::new();
        put_text(&mut text, &String::from_utf8_lossy(&random.mutate(&bodies)));
        assert_eq!(text.iter().filter(|byte| **byte == 0).count(), 1);
    });
}

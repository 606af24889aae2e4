//! What strangers and broken peers send: mutations of real messages, given to everything that reads bytes from outside (`untrusted`).
//! Nothing may panic, and nothing may get in. A case is made of its number, so that one that fails can be run again.

use crate::untrusted;

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

/// Gives a door `CASES` mutations of real messages, each after a byte of its choice.
fn each_case(door: fn(&[u8]), choices: usize, seeds: &[&[u8]]) {
    for case in 0..CASES {
        let mut random = Random(case);
        let mut message = random.mutate(seeds);
        if choices > 0 {
            message.insert(0, u8::try_from(random.below(choices)).unwrap());
        }
        assert!(std::panic::catch_unwind(|| door(&message)).is_ok(), "case {case}");
    }
}

#[test]
fn start_up_packets() {
    let seeds: [&[u8]; 5] = [
        b"\0\x03\0\0user\0a@example.com\0database\0music\0application_name\0psql\0client_encoding\0UTF8\0\0",
        b"\0\x03\0\x02user\0a\0_pq_.extension\0on\0\0",
        b"\0\x03\0\0user\0a\0replication\0database\0options\0-c role=x\0\0",
        b"\x04\xd2\x16/",
        b"\0\0\0\x10\0\x03\0\0user\0a\0\0",
    ];
    each_case(untrusted::start_up, 0, &seeds);
}

#[test]
fn scram_messages() {
    let seeds: [&[u8]; 6] = [
        b"n,,n=,r=rOprNGfwEbeRWgbNEkqO\0c=biws,r=%n,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        b"y,,n=user,r=abc\0c=eSws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"p=tls-server-end-point,,n=,r=abc\0c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r=%n,p=AAAA",
        b"n,,n=,r=abc\0c=biws,r=%n,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5",
        b"p\0\0\0\x0bn,,n=,rp\0\0\0\x04",
    ];
    each_case(untrusted::scram, 4, &seeds);
}

#[test]
fn proxy_headers() {
    let seeds: [&[u8]; 2] = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\x07\x30\x39\x1f\x90",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    each_case(untrusted::proxy_header, 0, &seeds);
}

#[test]
fn http_requests() {
    let seeds: [&[u8]; 2] = [
        b"GET /readyz?x=1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /healthz HTTP/1.0\r\ncontent-length: 9\r\n\r\nabc",
    ];
    each_case(untrusted::http_request, 0, &seeds);
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
    each_case(untrusted::statement, 3, &STATEMENTS);
}

#[test]
fn frames_in_pieces() {
    let seeds: [&[u8]; 4] = [
        b"Q\0\0\0\x0dselect 1\0Q\0\0\0\x05\0S\0\0\0\x04",
        b"d\0\0\0\x09a,b,\nd\0\0\0\x04c\0\0\0\x04X\0\0\0\x04",
        b"P\0\0\0\x0aa\0b\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0",
        b"Q\x7f\xff\xff\xffQ\0\0\0\x03",
    ];
    each_case(untrusted::frames, 256, &seeds);
}

#[test]
fn conversations() {
    const KINDS: &[u8] = b"QPBEDCSHXFdcfpZCEAGWKTI123nNstv\0\xff";
    let bodies: [&[u8]; 8] = [
        b"\0\0\0\0\0\0",
        b"name\0select 1\0\0\0",
        b"select 1\0",
        b"Sname\0",
        b"SELECT 1\0",
        b"DISCARD ALL\0",
        b"SERROR\0C42501\0Mpermission denied\0\0",
        b"I",
    ];
    for case in 0..CASES {
        let mut random = Random(case);
        let mut said = Vec::new();
        for _ in 0..random.below(12) {
            let body = random.mutate(&bodies);
            let who = u8::try_from(random.below(12)).unwrap();
            said.extend_from_slice(&[who, *random.pick(KINDS), u8::try_from(body.len()).unwrap_or(u8::MAX)]);
            said.extend_from_slice(&body);
        }
        assert!(std::panic::catch_unwind(|| untrusted::conversation(&said)).is_ok(), "case {case}");
    }
}

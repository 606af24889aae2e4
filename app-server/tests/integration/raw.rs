//! The protocol byte by byte, for what no honest driver sends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;

use crate::harness::{ADMIN, FREE, PASSWORD, PREMIUM, Server, eventually, value, world};

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn connect(server: &Server, user: &str) -> Self {
        // A client that names no database sends the user's name.
        Self::log_in(server.address, user, user, PASSWORD)
    }

    pub(crate) fn log_in(address: SocketAddr, database: &str, user: &str, password: &str) -> Self {
        let mut startup = BytesMut::new();
        frontend::startup_message([("user", user), ("database", database)], &mut startup).unwrap();
        Self::log_in_with(address, &startup, password).0
    }

    /// Logs in with a start-up packet, and answers all that was said on the way.
    pub(crate) fn log_in_with(
        address: SocketAddr,
        startup: &[u8],
        password: &str,
    ) -> (Self, Vec<(u8, Vec<u8>)>) {
        let mut raw = Self { stream: TcpStream::connect(address).unwrap() };
        raw.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        raw.send(startup);
        let mut said = vec![raw.receive()];
        if said[0].0 == b'v' {
            said.push(raw.receive());
        }
        assert_eq!(said.last().unwrap().0, b'R', "{}", String::from_utf8_lossy(&said.last().unwrap().1));
        let mut out = BytesMut::new();
        frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).unwrap();
        raw.send(&out);
        scram.update(&raw.receive().1[4..]).unwrap();
        out.clear();
        frontend::sasl_response(scram.message(), &mut out).unwrap();
        raw.send(&out);
        while said.last().unwrap().0 != b'Z' {
            said.push(raw.receive());
        }
        (raw, said)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    /// The kinds of the messages up to the first of one kind, and all their bodies.
    pub(crate) fn until(&mut self, last: u8) -> (String, String) {
        let (mut kinds, mut bodies) = (String::new(), String::new());
        loop {
            let (kind, body) = self.receive();
            kinds.push(char::from(kind));
            bodies.push_str(&String::from_utf8_lossy(&body));
            if kind == last {
                return (kinds, bodies);
            }
        }
    }

    /// Sends messages that end in one ReadyForQuery, and answers the kinds and bodies of what came back: nothing when the session
    /// has ended. A copy that is asked for gets no data.
    pub(crate) fn exchange(&mut self, messages: &[u8]) -> Option<(String, String)> {
        let (mut kinds, mut bodies) = (String::new(), String::new());
        self.stream.write_all(messages).ok()?;
        while !kinds.ends_with('Z') {
            let mut header = [0; 5];
            self.stream.read_exact(&mut header).ok()?;
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).ok()?;
            kinds.push(char::from(header[0]));
            bodies.push_str(&String::from_utf8_lossy(&body));
            if header[0] == b'G' {
                let mut none = BytesMut::new();
                frontend::copy_fail("no data", &mut none).unwrap();
                // The Sync of the messages was read as part of the copy.
                if messages[0] == b'P' {
                    frontend::sync(&mut none);
                }
                self.stream.write_all(&none).ok()?;
            }
        }
        Some((kinds, bodies))
    }

    pub(crate) fn query(&mut self, sql: &str) -> (String, String) {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).unwrap();
        self.send(&out);
        self.until(b'Z')
    }
}

#[tokio::test]
async fn a_function_call_is_refused_in_its_turn() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, PREMIUM);
    // FunctionCall of pg_backend_pid (oid 2026), without arguments.
    let mut out = BytesMut::new();
    frontend::query("select 'before'", &mut out).unwrap();
    out.put_slice(b"F\0\0\0\x0e");
    out.put_u32(2026);
    out.put_slice(&[0; 6]);
    frontend::query("select 'after'", &mut out).unwrap();
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "TDCZ");
    let (kinds, bodies) = raw.until(b'Z');
    assert_eq!(kinds, "EZ");
    assert!(bodies.contains("0A000") && bodies.contains("FunctionCall"), "{bodies}");
    assert_eq!(raw.until(b'Z').0, "TDCZ");
}

#[tokio::test]
async fn notices_and_changed_parameters_come_through_and_portals_stop_where_asked() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, ADMIN);
    let (kinds, bodies) = raw.query("do $$ begin raise notice 'heard'; end $$");
    assert!(kinds == "NCZ" && bodies.contains("heard"), "{kinds}");
    let (kinds, bodies) = raw.query("set timezone = 'Asia/Tokyo'");
    assert!(kinds.contains('S') && kinds.ends_with('Z') && bodies.contains("Asia/Tokyo"), "{kinds}");
    let mut out = BytesMut::new();
    frontend::parse("", "select i from generate_series(1, 3) as i", [], &mut out).unwrap();
    let nothing = [""; 0];
    let bound = frontend::bind("p", "", [], nothing, |_, _| Ok(postgres_protocol::IsNull::No), [], &mut out);
    assert!(bound.is_ok());
    // Two rows, then what is left.
    frontend::execute("p", 2, &mut out).unwrap();
    frontend::execute("p", 0, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "12DDsDCZ");
}

#[tokio::test]
async fn messages_cut_anywhere_mean_the_same() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, FREE);
    let mut out = BytesMut::new();
    frontend::query("select title from content order by title limit 1", &mut out).unwrap();
    frontend::query("alter role tier_free password 'x'", &mut out).unwrap();
    frontend::query("select record_play(1)", &mut out).unwrap();
    for byte in &out {
        raw.send(&[*byte]);
    }
    assert_eq!(raw.until(b'Z').0, "TDCZ");
    let (kinds, bodies) = raw.until(b'Z');
    assert_eq!(kinds, "EZ");
    assert!(bodies.contains("42501"), "{bodies}");
    assert_eq!(raw.until(b'Z').0, "TDCZ");
}

#[tokio::test]
async fn a_message_of_an_impossible_length_ends_only_its_own_session() {
    let (_postgres, server) = world().await;
    let honest = server.connect(FREE).await;
    for header in [*b"Q\x7f\xff\xff\xff", *b"Q\0\0\0\0", *b"d\xff\xff\xff\xff", *b"\0\0\0\0\x03"] {
        let mut raw = Raw::connect(&server, PREMIUM);
        raw.send(&header);
        let (_, bodies) = raw.until(b'E');
        assert!(bodies.contains("08P01"), "{bodies}");
        let mut rest = Vec::new();
        raw.stream.read_to_end(&mut rest).unwrap();
    }
    assert_eq!(value(&honest, "select 'served'").await, "served");
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_statement() {
    let (postgres, server) = world().await;
    let superuser = postgres.superuser().await;
    let mut raw = Raw::connect(&server, PREMIUM);
    let mut out = BytesMut::new();
    frontend::query("select pg_sleep(20)", &mut out).unwrap();
    raw.send(&out);
    let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    while value(&superuser, sleeping).await != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(raw);
    let left = std::time::Instant::now();
    while value(&superuser, sleeping).await != "0" {
        assert!(left.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually("the audit has the abandoned statement", || {
        server
            .lines()
            .iter()
            .any(|line| line["sql"] == "select pg_sleep(20)" && line["outcome"] == "abandoned")
    });
}

#[tokio::test]
async fn a_long_pipeline_does_not_block_itself() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, PREMIUM);
    let mut writer = raw.stream.try_clone().unwrap();
    // Far more answers than all buffers between the two ends hold, while the questions are still being sent.
    let sending = std::thread::spawn(move || {
        let mut out = BytesMut::new();
        for _ in 0..2000 {
            frontend::query("select repeat('x', 10000)", &mut out).unwrap();
        }
        writer.write_all(&out).unwrap();
    });
    for _ in 0..2000 {
        assert_eq!(raw.until(b'Z').0, "TDCZ");
    }
    sending.join().unwrap();
    let (kinds, _) = raw.query("select 1");
    assert_eq!(kinds, "TDCZ");
}

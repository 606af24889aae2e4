//! What somebody without the right password finds out, and what is asked of whom by where the connection comes from.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio_postgres::NoTls;

use crate::harness::{ADMIN, FREE, PASSWORD, PREMIUM, Postgres, Server, eventually, value, world};
use crate::raw::Raw;

fn start_up(user: &str, application_name: &str) -> BytesMut {
    let mut startup = BytesMut::new();
    let parameters = [("user", user), ("database", "music"), ("application_name", application_name)];
    frontend::startup_message(parameters, &mut startup).unwrap();
    startup
}

/// A login up to its proof: the connection, what was offered, the challenge, and the proof that is still to be sent.
fn up_to_the_proof(server: &Server, user: &str, password: &str) -> (Raw, String, String, BytesMut) {
    let mut raw = Raw { stream: TcpStream::connect(server.address).unwrap() };
    raw.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    raw.send(&start_up(user, ""));
    let (_, offered) = raw.receive();
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).unwrap();
    raw.send(&out);
    let (_, challenge) = raw.receive();
    scram.update(&challenge[4..]).unwrap();
    out.clear();
    frontend::sasl_response(scram.message(), &mut out).unwrap();
    let text = String::from_utf8(challenge[4..].to_vec()).unwrap();
    (raw, String::from_utf8_lossy(&offered).into_owned(), text, out)
}

/// All that is said before and after a wrong password: the mechanisms, the salt and the rounds, the refusal.
fn guess(server: &Server, user: &str) -> (String, String, String) {
    let (mut raw, offered, challenge, proof) = up_to_the_proof(server, user, "guess");
    let (nonce, salt_and_rounds) = challenge.split_once(',').unwrap();
    assert!(nonce.starts_with("r="), "{challenge}");
    raw.send(&proof);
    let refused = raw.until(b'E').1.replace(user, "USER");
    (offered, salt_and_rounds.to_owned(), refused)
}

/// The limit is on guesses, not on guesses one after the other.
#[tokio::test]
async fn guesses_made_at_once_are_counted_like_others() {
    let (_postgres, server) = world().await;
    let mut attempts: Vec<_> = (0..40).map(|_| up_to_the_proof(&server, FREE, "guess")).collect();
    attempts.push(up_to_the_proof(&server, FREE, PASSWORD));
    for (raw, _, _, proof) in &mut attempts[..40] {
        raw.send(proof);
    }
    let answers: Vec<_> = attempts[..40].iter_mut().map(|(raw, ..)| raw.until(b'E').1).collect();
    let judged = answers.iter().filter(|answer| answer.contains("28P01")).count();
    let refused = answers.iter().filter(|answer| answer.contains("28000")).count();
    assert_eq!((judged, refused), (10, 30));
    // Whether the last one is right is not told either.
    let (raw, _, _, proof) = &mut attempts[40];
    raw.send(proof);
    let (kinds, answer) = raw.until(b'E');
    assert!(kinds == "E" && answer.contains("28000") && answer.contains("try again in"), "{kinds} {answer}");
    // Logins that succeed do not count, however many begin at once.
    let mut honest: Vec<_> = (0..9).map(|_| up_to_the_proof(&server, PREMIUM, PASSWORD)).collect();
    honest.iter_mut().for_each(|(raw, _, _, proof)| raw.send(proof));
    honest.iter_mut().for_each(|(raw, ..)| assert!(raw.until(b'Z').0.ends_with('Z')));
}

#[tokio::test]
async fn who_is_too_slow_or_one_too_many_is_told() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let variables = [("LOGIN_TIMEOUT_S", "1"), ("ADDRESS_CONNECTIONS", "2")];
    let server = Server::start_with(&postgres, &variables);
    server.wait_until_ready();
    // In the middle of the packet, and before the proof.
    let mut raw = Raw { stream: TcpStream::connect(server.address).unwrap() };
    raw.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    raw.send(b"\0\0\0\x30\0\x03");
    let (mut late, ..) = up_to_the_proof(&server, PREMIUM, PASSWORD);
    for raw in [&mut raw, &mut late] {
        let answer = raw.until(b'E').1;
        assert!(answer.contains("57014") && answer.contains("the login took longer than 1 s"), "{answer}");
    }
    drop((raw, late));
    let mut open = Vec::new();
    eventually("two connections are open", || {
        let mut raw = Raw { stream: TcpStream::connect(server.address).unwrap() };
        raw.send(&start_up(PREMIUM, ""));
        if raw.receive().0 == b'R' {
            open.push(raw);
        }
        open.len() >= 2
    });
    let told = server.psql(PREMIUM, PASSWORD, &["-c", "select 1"]);
    let stderr = String::from_utf8_lossy(&told.stderr);
    assert!(stderr.contains("your address has 2 connections open already"), "{stderr}");
}

#[tokio::test]
async fn an_address_without_an_account_is_answered_like_one_with() {
    let (_postgres, server) = world().await;
    let known = guess(&server, FREE);
    let unknown = guess(&server, "nobody@example.com");
    assert_eq!((&known.0, &known.2), (&unknown.0, &unknown.2));
    let shape = |salt_and_rounds: &str| {
        let (salt, rounds) = salt_and_rounds.split_once(',').unwrap();
        (salt.len(), rounds.to_owned())
    };
    assert_eq!(shape(&known.1), shape(&unknown.1));
    // A salt that changed with each attempt would tell that it is made up; so would one for all.
    assert_eq!(guess(&server, "nobody@example.com").1, unknown.1);
    assert_eq!(guess(&server, "NOBODY@example.com").1, unknown.1);
    assert_ne!(guess(&server, "somebody@example.com").1, unknown.1);
}

#[tokio::test]
async fn the_state_of_an_account_is_told_to_who_has_its_password_only() {
    let (postgres, server) = world().await;
    let owner = postgres.owner().await;
    let account = format!("(select user_id from app_user where email = '{PREMIUM}')");
    let code = async |password: &str| {
        let refused = server.config(PREMIUM, password).connect(NoTls).await.err().unwrap();
        refused.code().unwrap().code().to_owned()
    };
    for (state, undone) in [
        (
            format!(
                "update private.credential set locked_until = now() + interval '1 hour' where user_id = {account}"
            ),
            format!("update private.credential set locked_until = now() where user_id = {account}"),
        ),
        (
            format!("update private.credential set expires_at = now() where user_id = {account}"),
            format!("update private.credential set expires_at = null where user_id = {account}"),
        ),
        (
            format!("update app_user set is_active = false where user_id = {account}"),
            format!("update app_user set is_active = true where user_id = {account}"),
        ),
    ] {
        owner.batch_execute(&state).await.unwrap();
        assert_eq!(code(PASSWORD).await, "28000", "{state}");
        assert_eq!(code("guess").await, "28P01", "{state}");
        owner.batch_execute(&undone).await.unwrap();
        assert_eq!(value(&server.connect(PREMIUM).await, "select 1").await, "1", "{undone}");
    }
}

/// A connection of 192.0.2.9, as a balancer at 127.0.0.2 passes it on.
async fn from_afar(server: &Server) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\x07\x30\x39\x1f\x90";
    stream.write_all(header).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_from_afar_need_tls_and_see_no_metrics() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let balancer = ("PROXY_FROM", "127.0.0.2/32");
    for (open, code, status) in [
        (&[balancer][..], Some("28000"), "404"),
        (&[balancer, ("INSECURE", "true"), ("METRICS_FROM", "192.0.2.0/24")], None, "200"),
    ] {
        let server = Server::start_with(&postgres, open);
        server.wait_until_ready();
        let mut raw = Raw { stream: from_afar(&server).await };
        raw.send(&start_up(ADMIN, ""));
        let (kind, body) = raw.receive();
        let said = String::from_utf8_lossy(&body);
        match code {
            Some(code) => assert!(kind == b'E' && said.contains(code) && said.contains("sslmode"), "{said}"),
            None => assert!(kind == b'R' && said.contains("SCRAM-SHA-256"), "{said}"),
        }
        let mut stream = from_afar(&server).await;
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.contains("app_server_open_sessions"), status == "200");
        assert!(server.get("/metrics").0.contains("200"), "this machine may always ask");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_up_packet_may_be_so_long_and_nothing_may_be_said_before_tls() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("STARTUP_BYTES", "2000")]);
    server.wait_until_ready();
    for (length, answered) in [(1000, b'R'), (2000, b'E'), (200_000, b'E')] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&start_up(FREE, &"x".repeat(length))).unwrap();
        let mut raw = Raw { stream };
        let (kind, body) = raw.receive();
        let said = String::from_utf8_lossy(&body);
        assert_eq!(kind, answered, "{length}: {said}");
        assert!(
            kind == b'R' || said.contains("08P01") && said.contains("at most 2000 are accepted"),
            "{said}"
        );
    }
    // CVE-2021-23214: what comes in clear behind the request for TLS must not be taken for the encrypted session's.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let smuggled = [&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], &start_up(FREE, "")].concat();
    stream.write_all(&smuggled).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&b'S'));
    assert!(!String::from_utf8_lossy(&answer).contains("SCRAM"), "{}", answer.escape_ascii());
}

//! What somebody without the right password finds out, and what is asked of whom by where the connection comes from.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio_postgres::NoTls;

use crate::harness::{ADMIN, FREE, PASSWORD, PREMIUM, Postgres, Server, value, world};
use crate::raw::Raw;

fn start_up(user: &str, application_name: &str) -> BytesMut {
    let mut startup = BytesMut::new();
    let parameters = [("user", user), ("database", "music"), ("application_name", application_name)];
    frontend::startup_message(parameters, &mut startup).unwrap();
    startup
}

/// All that is said before and after a wrong password: the mechanisms, the salt and the rounds, the refusal.
fn guess(server: &Server, user: &str) -> (String, String, String) {
    let mut raw = Raw { stream: TcpStream::connect(server.address).unwrap() };
    raw.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    raw.send(&start_up(user, ""));
    let (_, offered) = raw.receive();
    let mut scram = ScramSha256::new(b"guess", ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).unwrap();
    raw.send(&out);
    let (_, challenge) = raw.receive();
    let text = String::from_utf8(challenge[4..].to_vec()).unwrap();
    let (nonce, salt_and_rounds) = text.split_once(',').unwrap();
    assert!(nonce.starts_with("r="), "{text}");
    scram.update(&challenge[4..]).unwrap();
    out.clear();
    frontend::sasl_response(scram.message(), &mut out).unwrap();
    raw.send(&out);
    let refused = raw.until(b'E').1.replace(user, "USER");
    (String::from_utf8_lossy(&offered).into_owned(), salt_and_rounds.to_owned(), refused)
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
    for (length, answered) in [(1000, "R"), (2000, "")] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&start_up(FREE, &"x".repeat(length))).unwrap();
        let mut first = [0];
        // Cut off with something unread, which may show as a reset.
        let read = stream.read(&mut first).unwrap_or(0);
        assert_eq!(String::from_utf8_lossy(&first[..read]), answered, "{length}");
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

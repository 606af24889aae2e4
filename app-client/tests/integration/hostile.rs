//! A server that lies or breaks the protocol is an error with a sentence, never a panic or a hang.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::harness::{Client, Run};

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

fn authentication(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[kind.to_be_bytes().as_slice(), rest].concat())
}

/// Runs the client against a server that answers the n-th packet with the n-th of `answers` and hangs up.
fn run_against(answers: Vec<Vec<u8>>) -> Run {
    run_with(&["-c", "select 1"], answers)
}

/// The same, with other arguments.
fn run_with(arguments: &[&str], answers: Vec<Vec<u8>>) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        for answer in answers {
            let mut packet = [0; 4096];
            if stream.read(&mut packet).unwrap_or(0) == 0 || stream.write_all(&answer).is_err() {
                return;
            }
        }
        drain(&mut stream);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::new(folder.path(), ["-h", "127.0.0.1", "-p", &port, "-U", "anna"]);
    let client = arguments.iter().fold(client, |client, argument| client.argument(argument));
    client.env("PGPASSWORD", "s3cret").env("PGCONNECT_TIMEOUT", "2").run()
}

/// Closing with unread data would reset the connection and take the last answer with it.
fn drain(stream: &mut TcpStream) {
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(stream, &mut std::io::sink());
}

#[test]
fn a_server_that_cannot_prove_that_it_knows_the_password_is_refused() {
    let sasl = authentication(10, b"SCRAM-SHA-256\0\0");
    let ready = [authentication(0, b""), message(b'Z', b"I")].concat();
    // It says "welcome" without its half of the exchange, at each point where it could.
    run_against(vec![sasl.clone(), ready.clone()]).fails(3, &["may be an impostor"]);
    let challenge = authentication(11, b"r=wrong,s=c2FsdA==,i=4096");
    run_against(vec![sasl.clone(), challenge]).fails(3, &["may be an impostor"]);
    let last = authentication(12, b"v=AAAA");
    run_against(vec![sasl, last]).fails(3, &["may be an impostor"]);
}

#[test]
fn login_messages_that_make_no_sense_are_errors() {
    for answer in [
        authentication(12, b"v=AAAA"),
        authentication(5, b""),
        message(b'R', b""),
        message(b'D', b"\0\0"),
        vec![b'R', 0, 0, 0, 1],
        vec![b'E', 0x7f, 0xff, 0xff, 0xff],
        b"\0\0\0\0\0\0\0\0\0\0".to_vec(),
    ] {
        run_against(vec![answer]).fails(3, &["does not speak the PostgreSQL protocol"]);
    }
    run_against(vec![authentication(7, b"")]).fails(3, &["GSSAPI"]);
    run_against(vec![authentication(10, b"OTHER\0\0")]).fails(3, &["SASL (OTHER)"]);
    run_against(vec![Vec::new()]).fails(3, &["did not get through the greeting: the server closed it"]);
}

#[test]
fn results_that_make_no_sense_are_errors() {
    let welcome = [authentication(0, b""), message(b'Z', b"I")].concat();
    let column = [b"\0\x01a\0".as_slice(), &[0; 18]].concat();
    let columns = message(b'T', &column);
    for answer in [
        message(b'D', b"\0\0"),
        message(b'T', b"\0\x05"),
        message(b'T', b""),
        [columns.clone(), message(b'D', b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff")].concat(),
        [columns.clone(), message(b'D', b"\0\x01\x7f\xff\xff\xff")].concat(),
        [columns.clone(), message(b'D', b"\0\x01\0\0\0\x09a")].concat(),
        message(b'?', b""),
    ] {
        run_against(vec![welcome.clone(), answer]).fails(1, &["the server broke the protocol with"]);
    }
    // Errors and notices that lack what they should have, then the end.
    for odd in
        [message(b'E', b""), message(b'E', b"P99999999999999999999\0M\0\0"), message(b'N', b"\xff\xfe\0")]
    {
        run_against(vec![welcome.clone(), odd]).fails(1, &["the connection to the server was lost"]);
    }
    let row = [columns, message(b'D', b"\0\x01\0\0\0\x01x")].concat();
    let run = run_against(vec![welcome, row]);
    run.fails(1, &["1 row of the result had come when the connection to the server was lost"]);
    assert!(run.stdout.ends_with(" x\n"), "{run:?}");
}

#[test]
fn the_doctor_names_the_leg_after_the_login_that_fails_and_a_next_step() {
    let welcome = [authentication(0, b""), message(b'Z', b"I")].concat();
    let full = b"SERROR\0C53300\0Mtoo many statements\0\0";
    let refused = [message(b'E', full), message(b'Z', b"I")].concat();
    let column = [b"\0\x01a\0".as_slice(), &[0; 18]].concat();
    let row =
        [message(b'T', &column), message(b'D', b"\0\x01\0\0\0\x01x"), message(b'C', b"SELECT 1\0")].concat();
    let answered = [row, message(b'Z', b"I")].concat();
    let idle = b"SFATAL\0C57P05\0Mterminating connection due to idle-session timeout\0\0";
    let other = [message(b'E', b"SERROR\0CXX000\0Mout of order\0\0"), message(b'Z', b"I")].concat();
    for (answers, leg, parts) in [
        (
            vec![refused.clone()],
            "role",
            ["too many statements (53300)", "hint: the server is starting, draining or full"],
        ),
        (vec![other], "role", ["out of order (XX000)", "hint: who runs the server should see this"]),
        (
            vec![answered, refused],
            "query",
            ["`select 1` is answered with ERROR", "hint: the server is starting"],
        ),
        (
            vec![message(b'E', idle)],
            "role",
            ["idle-session timeout (57P05)", "can raise `idle_session_timeout`"],
        ),
        (
            vec![],
            "role",
            ["the login works, but the connection to the server was lost", "hint: run it again"],
        ),
    ] {
        let run = run_with(&["doctor"], [vec![welcome.clone()], answers].concat());
        run.fails(1, &parts);
        let last = run.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with(leg) && last.contains("FAILED after"), "{run:?}");
    }
}

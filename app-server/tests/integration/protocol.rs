//! Real clients and raw packets: psql over TLS, drivers, COPY, cancel, pgbench, probes, and what a start-up packet may not ask.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_postgres::NoTls;

use crate::harness::{ADMIN, FREE, PASSWORD, PREMIUM, Postgres, Server, ask, eventually, value, world};
use crate::raw::Raw;

#[tokio::test]
async fn psql_verifies_the_certificate_and_logs_in_with_the_right_password_only() {
    let (_postgres, server) = world().await;
    let output = server.psql(
        "Free@Example.com",
        PASSWORD,
        &["-c", "select title from content order by title limit 1"],
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Attic Window\n", "{output:?}");
    let failure = |user: &str, password: &str| {
        let output = server.psql(user, password, &["-c", "select 1"]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap().replace(user, "USER")
    };
    let wrong = failure(FREE, "music-dem0");
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert_eq!(wrong, failure("nobody@example.com", PASSWORD), "an unknown user is not told apart");
    eventually("the logins are in the audit", || {
        server.lines().iter().filter(|line| line["audit"] == "login").count() >= 3
    });
    let logins: Vec<_> = server.lines().into_iter().filter(|line| line["audit"] == "login").collect();
    let told: Vec<_> = logins
        .iter()
        .map(|line| (line["user"].as_str().unwrap(), line["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("Free@Example.com", ""), (FREE, "wrong password"), ("nobody@example.com", "unknown user")]
    );
}

#[tokio::test]
async fn drivers_prepare_pipeline_and_roll_back_and_the_audit_has_each_statement() {
    let (_postgres, server) = world().await;
    let mut client = server.connect(PREMIUM).await;
    let statement =
        client.prepare("select title from content where duration_s > $1 order by title").await.unwrap();
    let (long, longer) = tokio::join!(client.query(&statement, &[&300]), client.query(&statement, &[&2000]));
    assert_eq!((long.unwrap().len(), longer.unwrap().len()), (5, 1));
    let transaction = client.transaction().await.unwrap();
    transaction.execute("update content set duration_s = 1", &[]).await.unwrap();
    assert!(transaction.query("select no_such_column from content", &[]).await.is_err());
    transaction.rollback().await.unwrap();
    assert_eq!(value(&client, "select count(*) from content where duration_s = 1").await, "0");
    ask(&client, "select 1; select 'line\nbreak \u{2028}'; select 3").await.unwrap();
    eventually("the last statement is in the audit", || {
        server.lines().iter().filter(|line| line["tag"] == "SELECT 1").count() >= 5
    });
    let records: Vec<_> = server.lines().into_iter().filter(|line| line["audit"] == "statement").collect();
    let outcome = |sql: &str| -> Vec<_> {
        records
            .iter()
            .filter(|record| record["sql"].as_str().is_some_and(|text| text.starts_with(sql)))
            .map(|record| (record["outcome"].as_str().unwrap(), record["rows"].as_u64()))
            .collect()
    };
    assert_eq!(outcome("select title"), [("success", Some(5)), ("success", Some(1))]);
    assert_eq!(outcome("update content"), [("success", Some(10))]);
    assert_eq!(outcome("select no_such"), [("error", None)]);
    assert_eq!(outcome("select 1; "), [("success", Some(1))]);
    let parts: Vec<_> = records.iter().filter_map(|record| record["part"].as_u64()).collect();
    assert_eq!(parts, [2, 3], "the other statements of that message");
    assert!(records.iter().all(|record| record["user"] == PREMIUM && record["tier"] == "premium"));
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let (_postgres, server) = world().await;
    let admin = server.connect(ADMIN).await;
    ask(&admin, "create table bulk (line text)").await.unwrap();
    let sink = admin.copy_in("copy bulk from stdin").await.unwrap();
    let rows = Bytes::from("a line of some length\n".repeat(20_000));
    futures_util::pin_mut!(sink);
    for _ in 0..5 {
        futures_util::SinkExt::send(&mut sink, rows.clone()).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 100_000);
    let stream = admin.copy_out("copy bulk to stdout").await.unwrap();
    let copied: Vec<Bytes> = futures_util::TryStreamExt::try_collect(stream).await.unwrap();
    assert_eq!(copied.iter().map(Bytes::len).sum::<usize>(), 2_200_000);
    assert_eq!(admin.query("select line from bulk", &[]).await.unwrap().len(), 100_000);
    let output = server.psql(ADMIN, PASSWORD, &["-c", "\\copy content (title) to stdout"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 10, "{output:?}");
}

#[tokio::test]
async fn a_running_query_is_cancelled_by_its_own_key_only() {
    let (postgres, server) = world().await;
    let client = server.connect(PREMIUM).await;
    let cancel = client.cancel_token();
    let running = tokio::spawn(async move { ask(&client, "select pg_sleep(20)").await });
    let began = Instant::now();
    let superuser = postgres.superuser().await;
    let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    while value(&superuser, sleeping).await != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A key that nobody has does nothing, the database's own included: this connection is closed when it is done with.
    let process_id: u32 = value(&superuser, "select pid from pg_stat_activity where wait_event = 'PgSleep'")
        .await
        .parse()
        .unwrap();
    for process_id in [1, process_id] {
        let mut guess = TcpStream::connect(server.address).unwrap();
        let key = [&process_id.to_be_bytes()[..], &[0, 0, 0, 2]].concat();
        guess.write_all(&[&[0, 0, 0, 16, 4, 210, 22, 46][..], &key].concat()).unwrap();
        assert_eq!(guess.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(value(&superuser, sleeping).await, "1");
    assert!(!running.is_finished());
    while !running.is_finished() {
        cancel.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.await.unwrap(), Err("57014".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn probes_leave_no_line_and_requests_that_are_not_served_are_refused() {
    let (_postgres, server) = world().await;
    for _ in 0..1000 {
        drop(TcpStream::connect(server.address).unwrap());
    }
    assert!(server.get("/healthz").0.contains("200"));
    let lines = server.lines();
    assert!(lines.iter().all(|line| line["event"] == "ready" || line["audit"] == "serving"), "{lines:?}");
    let mut options = server.config(FREE, PASSWORD);
    options.options("-c role=tier_admin");
    assert_eq!(options.connect(NoTls).await.err().unwrap().code().unwrap().code(), "0A000");
    let mut other = server.config(FREE, PASSWORD);
    other.dbname("postgres");
    assert_eq!(other.connect(NoTls).await.err().unwrap().code().unwrap().code(), "3D000");
    let replication = server.psql(
        FREE,
        PASSWORD,
        &[
            "-d",
            &format!(
                "host=127.0.0.1 port={} user={FREE} dbname=music replication=database",
                server.address.port()
            ),
            "-c",
            "IDENTIFY_SYSTEM",
        ],
    );
    assert!(String::from_utf8_lossy(&replication.stderr).contains("replication"), "{replication:?}");
    // Impossible lengths end the connection without an answer; what is too long is told.
    for (packet, told) in [([0, 0, 0, 3], ""), ([0, 0, 0, 7], ""), ([0, 0x10, 0, 0], "E")] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&packet).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut first = [0];
        let read = stream.read(&mut first).unwrap_or(0);
        assert_eq!(String::from_utf8_lossy(&first[..read]), told, "{packet:?}");
    }
    // And honest people are still served.
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");
}

#[tokio::test]
async fn pgbench_runs_in_every_protocol() {
    let (_postgres, server) = world().await;
    let script = server.ca_file().with_file_name("script.sql");
    std::fs::write(&script, "select title, duration_s from content order by title limit 5;\n").unwrap();
    for protocol in ["simple", "extended", "prepared"] {
        let output = Command::new("pgbench")
            .args(["-n", "-c", "8", "-t", "100", "-M", protocol, "-f"])
            .arg(&script)
            .args(["-h", "127.0.0.1", "-p", &server.address.port().to_string(), "-U", PREMIUM, "music"])
            .env("PGPASSWORD", PASSWORD)
            .env("PGSSLMODE", "require")
            .output()
            .expect("pgbench is needed: apt-get install postgresql");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && report.contains("800/800"), "{protocol}: {output:?}");
    }
}

// psql blocks its thread while the balancer works in another.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_in_the_configured_network_says_whose_the_connection_is() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("PROXY_FROM", "127.0.0.2/32, 2001:db8::/32")]);
    server.wait_until_ready();
    // A balancer: adds a header, and passes bytes on from an address of the network.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server_address = server.address;
    tokio::spawn(async move {
        for header in
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\x07\x30\x39\x1f\x90".as_slice(), b""]
        {
            let (mut client, _) = listener.accept().await.unwrap();
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let mut upstream = socket.connect(server_address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut upstream, header).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        }
    });
    let through_balancer = |mode: &str| {
        Command::new("psql")
            .args(["-X", "-A", "-t", "-c", "select 1", "-d"])
            .arg(format!("host=127.0.0.1 port={port} user={FREE} dbname=music sslmode={mode}"))
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap()
    };
    let output = through_balancer("require");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
    let login = server.lines().into_iter().find(|line| line["audit"] == "login").unwrap();
    assert_eq!(login["client"], "192.0.2.9:12345");
    // Without a header nobody from there is served, and nobody else may bring one.
    assert_eq!(through_balancer("disable").status.code(), Some(2));
    let mut liar = TcpStream::connect(server.address).unwrap();
    liar.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = liar.read_to_string(&mut answer);
    assert_eq!(answer, "");
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");
}

#[tokio::test]
async fn a_login_can_be_bound_to_the_tls_session() {
    let (_postgres, server) = world().await;
    let psql = |mode: &str, binding: &str| {
        let connection = format!(
            "host=127.0.0.1 port={} user={FREE} dbname=music sslmode={mode} channel_binding={binding}",
            server.address.port()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-c", "select 1", "-d", &connection]).env("PGPASSWORD", PASSWORD);
        command.output().unwrap()
    };
    for binding in ["require", "prefer", "disable"] {
        let output = psql("require", binding);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{binding}: {output:?}");
    }
    assert_eq!(psql("disable", "prefer").status.code(), Some(0));
    assert_eq!(psql("disable", "require").status.code(), Some(2), "nothing to bind to");
}

#[tokio::test]
async fn an_encoding_in_which_a_quote_may_be_half_a_character_is_refused() {
    let (_postgres, server) = world().await;
    let stderr = |arguments: &[&str]| {
        String::from_utf8(server.psql(FREE, PASSWORD, arguments).stderr).expect("psql speaks UTF-8")
    };
    for statement in ["set client_encoding to 'GBK'", "set names 'SJIS'", "set names default"] {
        let told = stderr(&["-c", statement]);
        let expected =
            "ERROR:  42501: permission denied: client_encoding may be UTF8 or an encoding of one byte";
        assert!(told.starts_with(expected), "{statement}: {told}");
    }
    // psql has words of its own for it.
    assert_eq!(
        stderr(&["-c", "\\encoding BIG5"]),
        "BIG5: invalid encoding name or conversion procedure not found\n"
    );
    // Asked for at the start, as a psql of such a locale does.
    let connection = format!(
        "host=127.0.0.1 port={} user={FREE} dbname=music sslmode=require client_encoding=GBK",
        server.address.port()
    );
    let mut client = Command::new("psql");
    client.args(["-X", "-d", &connection, "-c", "select 1"]).env("PGPASSWORD", PASSWORD);
    let refused = client.output().expect("psql is installed");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("client_encoding `GBK` is not served"),
        "{refused:?}"
    );
    let served = server.psql(FREE, PASSWORD, &["-c", "set client_encoding to 'LATIN1'; select 'x'"]);
    assert!(String::from_utf8_lossy(&served.stdout).ends_with("x\n"), "{served:?}");
}

#[tokio::test]
async fn the_default_encoding_is_the_servers_whatever_the_database_says() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    postgres
        .superuser()
        .await
        .batch_execute("alter database music set client_encoding = 'GBK'")
        .await
        .unwrap();
    let server = Server::start_with(&postgres, &[("POOL_SIZE", "1")]);
    server.wait_until_ready();
    let mut one = Raw::connect(&server, PREMIUM);
    let mut other = Raw::connect(&server, PREMIUM);
    let encoding = |raw: &mut Raw| raw.query("show client_encoding").1;
    assert!(encoding(&mut one).contains("UTF8"));
    for back in ["reset client_encoding", "reset all", "discard all"] {
        assert!(one.query("set client_encoding to 'LATIN1'").0.contains('C'));
        assert!(encoding(&mut one).contains("LATIN1"));
        assert!(one.query(back).0.contains('C'), "{back}");
        assert!(encoding(&mut one).contains("UTF8"), "{back}");
    }
    // Left by who asked for another one, the only database session is the next person's with the default.
    assert!(one.query("set client_encoding to 'LATIN1'").0.contains('C'));
    drop(one);
    assert!(encoding(&mut other).contains("UTF8"));
}

#[tokio::test]
async fn what_a_session_begins_with_is_the_servers_whatever_the_database_says() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let superuser = postgres.superuser().await;
    for setting in [
        "search_path = pg_catalog",
        "row_security = off",
        "standard_conforming_strings = off",
        "default_transaction_isolation = serializable",
        "default_transaction_read_only = on",
        "idle_in_transaction_session_timeout = 1",
        "statement_timeout = 1",
    ] {
        superuser.batch_execute(&format!("alter database music set {setting}")).await.unwrap();
    }
    superuser.batch_execute("alter role tier_free reset default_transaction_read_only").await.unwrap();
    superuser.batch_execute("alter role tier_free set default_transaction_read_only = off").await.unwrap();
    let server = Server::start(&postgres);
    server.wait_until_ready();
    let settings = "select concat_ws(' ', current_setting('search_path'), current_setting('row_security'),
        current_setting('standard_conforming_strings'), current_setting('default_transaction_isolation'),
        current_setting('default_transaction_read_only'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout'))";
    for (user, expected) in [
        (FREE, "public on on read committed on 330s 15s"),
        (PREMIUM, "public on on read committed off 330s 30s"),
        (ADMIN, "workspace, public on on read committed off 330s 0"),
    ] {
        let client = server.connect(user).await;
        assert_eq!(value(&client, settings).await, expected, "{user}");
        ask(&client, "discard all").await.unwrap();
        assert_eq!(value(&client, settings).await, expected, "{user}");
    }
}

#[tokio::test]
async fn a_driver_without_scram_is_asked_for_the_password_inside_tls_only() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("PASSWORD_FROM", "127.0.0.0/8")]);
    server.wait_until_ready();
    let first = server.psql(FREE, PASSWORD, &["-c", "select 1"]);
    assert_eq!(String::from_utf8_lossy(&first.stdout), "1\n", "{first:?}");
    // What is asked for is the password: there is nothing to bind.
    let bound = server.psql_with(FREE, &server.ca_file(), "require", &["-c", "select 1"]);
    assert!(String::from_utf8_lossy(&bound.stderr).contains("channel binding required"), "{bound:?}");
    for (user, password) in [(FREE, "music-dem"), (FREE, "music-demo "), ("nobody@example.com", PASSWORD)] {
        let wrong = server.psql(user, password, &["-c", "select 1"]);
        let told = String::from_utf8_lossy(&wrong.stderr).replace(user, "USER");
        assert!(told.contains("password authentication failed for user \"USER\""), "{told}");
    }
    // In clear text it is SCRAM, as ever: this client knows nothing else.
    drop(Raw::connect(&server, FREE));
    assert!(!format!("{:?}", server.lines()).contains("music-dem"));
}

/// A start-up packet of protocol 3 by hand.
fn startup(minor: u8, user: &str) -> Vec<u8> {
    let body = [&[0, 3, 0, minor][..], b"user\0", user.as_bytes(), b"\0database\0music\0\0"].concat();
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_3_2_has_long_cancel_keys_and_newer_ones_are_negotiated_down() {
    let (_postgres, server) = world().await;
    for (minor, negotiated, key_length) in [(0, false, 8), (2, false, 36), (99, true, 36)] {
        let (mut raw, greeting) = Raw::log_in_with(server.address, &startup(minor, PREMIUM), PASSWORD);
        let kinds: String = greeting.iter().map(|(kind, _)| char::from(*kind)).collect();
        assert_eq!(kinds.contains('v'), negotiated, "{minor}: {kinds}");
        let key = &greeting.iter().find(|(kind, _)| *kind == b'K').unwrap().1;
        assert_eq!(key.len(), key_length, "{minor}");
        let cancel = |key: &[u8]| {
            let length = u32::try_from(key.len() + 8).unwrap().to_be_bytes();
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&[&length[..], &80_877_102_u32.to_be_bytes(), key].concat()).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        };
        let mut sleeping = bytes::BytesMut::new();
        postgres_protocol::message::frontend::query("select pg_sleep(20)", &mut sleeping).unwrap();
        raw.send(&sleeping);
        // Its beginning is not the key.
        cancel(&key[..key.len() - 1]);
        let answered = std::thread::spawn(move || raw.until(b'Z').1);
        while !answered.is_finished() {
            cancel(key);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(answered.join().unwrap().contains("57014"), "{minor}");
    }
}

#[tokio::test]
async fn tls_may_come_first_and_says_what_it_carries() {
    let (_postgres, server) = world().await;
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::pem::PemObject::from_pem_file(server.ca_file()).unwrap();
    roots.add(ca).unwrap();
    let connect = async |protocol: &[u8]| {
        let mut config =
            rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let name = crate::harness::SERVER_NAME.try_into().unwrap();
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, socket).await
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut postgresql = connect(b"postgresql").await.unwrap();
    postgresql.write_all(&startup(0, FREE)).await.unwrap();
    let mut answer = [0; 64];
    let length = postgresql.read(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"R") && String::from_utf8_lossy(&answer[..length]).contains("SCRAM-SHA-256-PLUS")
    );
    let mut http = connect(b"http/1.1").await.unwrap();
    http.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = http.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(connect(b"smtp").await.is_err(), "spoken by nobody here");
    // An encrypted session inside an encrypted session, or GSS, is answered with no.
    let mut inside = connect(b"postgresql").await.unwrap();
    for request in [80_877_103_u32, 80_877_104] {
        inside.write_all(&[&8_u32.to_be_bytes()[..], &request.to_be_bytes()].concat()).await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'N');
    }
}

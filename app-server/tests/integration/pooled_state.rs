//! Database sessions shared by many clients: what a client has set, prepared or asked to keep is there when it comes back.

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio_postgres::{Client, NoTls};

use crate::harness::{ADMIN, OTHER_PREMIUM, PASSWORD, PREMIUM, Server, ask, eventually, value, world_with};
use crate::raw::Raw;

/// So many sessions of one person.
async fn connect_many(server: &Server, user: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(server.connect(user).await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_a_client_asks_for_stays_with_it_until_it_is_discarded() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "4")]).await;
    let tied = server.connect(PREMIUM).await;
    ask(&tied, "set work_mem = '5MB'; prepare p as select 'prepared'").await.unwrap();
    let others: Vec<_> = connect_many(&server, OTHER_PREMIUM, 6).await;
    for _ in 0..5 {
        for other in &others {
            assert_ne!(value(other, "show work_mem").await, "5MB");
        }
        assert_eq!(value(&tied, "show work_mem").await, "5MB");
        assert_eq!(value(&tied, "execute p").await, "prepared");
        assert_eq!(value(&tied, "select count(*) from playlist").await, "4");
    }
    // Half of the places may be kept like this, and no more.
    ask(&others[0], "set work_mem = '5MB'").await.unwrap();
    ask(&others[1], "set work_mem = '5MB'").await.unwrap();
    eventually("the third has been told to leave", || others[1].is_closed());
    ask(&tied, "discard all").await.unwrap();
    assert_ne!(value(&tied, "show work_mem").await, "5MB");
    assert_eq!(value(&tied, "select count(*) from playlist").await, "4");
    ask(&others[2], "set work_mem = '5MB'").await.unwrap();
    assert_eq!(value(&others[2], "show work_mem").await, "5MB");
    for local in ["set local work_mem = '5MB'", "set transaction read only"] {
        ask(&others[3], &format!("begin; {local}; commit")).await.unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drivers_set_follows_the_client_and_keeps_no_database_session() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "1")]).await;
    let (one, other) = (server.connect(PREMIUM).await, server.connect(OTHER_PREMIUM).await);
    let zone = value(&one, "show timezone").await;
    ask(&one, "SET extra_float_digits = 0").await.unwrap();
    // Through the extended protocol, as JDBC says it.
    one.execute("SET application_name = 'PostgreSQL JDBC Driver'", &[]).await.unwrap();
    ask(&one, "set session timezone to 'Asia/Tokyo';").await.unwrap();
    let state = "select current_setting('application_name') || '|' || current_setting('extra_float_digits')
        || '|' || current_setting('timezone')";
    for _ in 0..3 {
        assert_eq!(value(&other, state).await, format!("|1|{zone}"));
        assert_eq!(value(&one, state).await, "PostgreSQL JDBC Driver|0|Asia/Tokyo");
        assert_eq!(value(&one, "select count(*) from playlist").await, "4");
    }
    // What is taken back does not follow, and what cannot be told stays with the database session.
    ask(&one, "reset timezone").await.unwrap();
    assert!(ask(&one, "set timezone = 'no such zone'").await.is_err());
    assert_eq!(value(&other, state).await, format!("|1|{zone}"));
    assert_eq!(value(&one, state).await, format!("PostgreSQL JDBC Driver|0|{zone}"));
    ask(&one, "reset all").await.unwrap();
    assert_eq!(value(&other, "select 1").await, "1");
    assert_eq!(value(&one, state).await, format!("|1|{zone}"));
    for taken_back in ["rollback", "select 1 / 0"] {
        ask(&one, "begin").await.unwrap();
        ask(&one, "set timezone = 'Asia/Tokyo'").await.unwrap();
        let _ = ask(&one, taken_back).await;
        ask(&one, "rollback").await.unwrap();
        assert_eq!(value(&one, state).await, format!("|1|{zone}"));
        ask(&one, "discard all").await.unwrap();
        assert_eq!(value(&other, state).await, format!("|1|{zone}"));
    }
    ask(&one, "begin").await.unwrap();
    ask(&one, "set timezone = 'Asia/Tokyo'").await.unwrap();
    ask(&one, "commit").await.unwrap();
    assert_eq!(value(&one, state).await, "|1|Asia/Tokyo");
    let waiting = tokio::spawn(async move { value(&other, "select 'served'").await });
    assert_eq!(value(&one, state).await, "|1|Asia/Tokyo");
    ask(&one, "discard all").await.unwrap();
    assert_eq!(waiting.await.unwrap(), "served");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_login_hold_on_every_database_session() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "1")]).await;
    let psql = |zone: &str| {
        let connection = format!("host=127.0.0.1 port={} user={PREMIUM} dbname=music", server.address.port());
        let ask = "show timezone; select pg_sleep(0.05); show timezone; select pg_sleep(0.05); show timezone";
        let mut command = std::process::Command::new("psql");
        command.args(["-X", "-A", "-t", "-q", "-d", &connection]);
        for statement in ask.split("; ").filter(|statement| !statement.is_empty()) {
            command.args(["-c", statement]);
        }
        command.env("PGPASSWORD", PASSWORD).env("PGTZ", zone).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let zones = ["Asia/Tokyo", "Europe/Rome", "America/Lima"];
    let running: Vec<_> = zones.iter().map(|zone| psql(zone)).collect();
    for (process, zone) in running.into_iter().zip(zones) {
        let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
        let shown: Vec<_> = output.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(shown, [zone; 3]);
    }
    let mut wrong = server.config(PREMIUM, PASSWORD);
    wrong.application_name("x");
    assert_eq!(
        value(
            &wrong
                .connect(NoTls)
                .await
                .map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                })
                .unwrap(),
            "show application_name"
        )
        .await,
        "x"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_can_close_prepare_again_and_fail_across_database_sessions() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "2")]).await;
    let clients: Vec<_> = connect_many(&server, PREMIUM, 5).await;
    let tasks = clients.into_iter().enumerate().map(|(number, client)| {
        tokio::spawn(async move {
            for round in 0..60 {
                let sql = format!("select {number} * 1000 + {round} + $1::int");
                let statement = client.prepare(&sql).await.unwrap();
                assert!(client.prepare("select no_such_column").await.is_err());
                let first: i32 = client.query_one(&statement, &[&1]).await.unwrap().get(0);
                assert!(client.query_one("select 1 / $1::int", &[&0]).await.is_err());
                let second: i32 = client.query_one(&statement, &[&2]).await.unwrap().get(0);
                assert_eq!(
                    (first, second),
                    (number as i32 * 1000 + round + 1, number as i32 * 1000 + round + 2)
                );
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    // One name, closed and used again, on whatever database session comes.
    let (mut one, mut other) = (Raw::connect(&server, PREMIUM), Raw::connect(&server, PREMIUM));
    for round in 0..50 {
        for (raw, who) in [(&mut one, "one"), (&mut other, "other")] {
            let text = format!("{who} {round}");
            let mut out = BytesMut::new();
            frontend::parse("plan", &format!("select '{text}'"), [], &mut out).unwrap();
            frontend::sync(&mut out);
            raw.send(&out);
            assert_eq!(raw.until(b'Z').0, "1Z");
            out.clear();
            frontend::describe(b'S', "plan", &mut out).unwrap();
            let _ = frontend::bind(
                "",
                "plan",
                [],
                [""; 0],
                |_, _| Ok(postgres_protocol::IsNull::No),
                [],
                &mut out,
            );
            frontend::execute("", 0, &mut out).unwrap();
            frontend::sync(&mut out);
            raw.send(&out);
            let (kinds, bodies) = raw.until(b'Z');
            assert_eq!(kinds, "tT2DCZ");
            assert!(bodies.contains(&text), "{bodies}");
            out.clear();
            frontend::close(b'S', "plan", &mut out).unwrap();
            frontend::sync(&mut out);
            raw.send(&out);
            assert_eq!(raw.until(b'Z').0, "3Z");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_is_heard_by_and_says_what_it_costs() {
    for (mode, told) in [("transaction", true), ("session", false)] {
        let (_postgres, server) = world_with(&[("POOL_MODE", mode), ("POOL_SIZE", "4")]).await;
        let mut listener = Raw::connect(&server, PREMIUM);
        let mut out = BytesMut::new();
        frontend::query("listen news", &mut out).unwrap();
        listener.send(&out);
        let (kinds, bodies) = listener.until(if told { b'N' } else { b'Z' });
        assert_eq!(kinds, if told { "CZN" } else { "CZ" }, "{mode}");
        assert_eq!(bodies.contains("a database session to itself while it listens"), told, "{bodies}");
        ask(&server.connect(ADMIN).await, "notify news, 'extra'").await.unwrap();
        let (kinds, bodies) = listener.until(b'A');
        assert_eq!(kinds, "A", "{mode}");
        assert!(bodies.contains("news") && bodies.contains("extra"), "{bodies}");
    }
}

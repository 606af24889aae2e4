//! Database sessions shared by many clients: nobody sees what another left, nobody loses what is kept for them, and who waits is told.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio_postgres::{Client, NoTls};

use crate::harness::{ADMIN, FREE, OTHER_PREMIUM, PASSWORD, PREMIUM, ask, eventually, value, world_with};
use crate::raw::Raw;

async fn database_sessions(superuser: &Client, role: &str) -> i32 {
    let count = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    value(superuser, &count).await.parse().unwrap()
}

/// One person's many short visits: what is found must be one's own or nothing.
async fn visit(client: Client, account: String, playlists: &str, mark: String) {
    let add = client.prepare("select $1::int + 1").await.unwrap();
    // Drivers count: the same name stands for another statement in every client.
    let own = client.prepare(&format!("select '{mark}' || $1::text")).await.unwrap();
    for round in 0..150 {
        let identity = value(&client, "select current_setting('app.identity')").await;
        assert_eq!(identity.split(':').next(), Some(account.as_str()), "round {round}");
        assert_eq!(value(&client, "select count(*) from playlist").await, playlists, "round {round}");
        let note = value(&client, "select coalesce(current_setting('app.note', true), '')").await;
        assert!(note.is_empty() || note == mark, "{mark} sees {note}");
        ask(&client, &format!("select set_config('app.note', '{mark}', false)")).await.unwrap();
        let foreign = format!(
            "select count(*) from pg_prepared_statements
             where statement like 'select ''mark%' and statement not like 'select ''{mark}''%'"
        );
        assert_eq!(value(&client, &foreign).await, "0");
        let sum: i32 = client.query_one(&add, &[&round]).await.unwrap().get(0);
        assert_eq!(sum, round + 1);
        let text: String = client.query_one(&own, &[&"x"]).await.unwrap().get(0);
        assert_eq!(text, format!("{mark}x"));
        assert_eq!(value(&client, "show application_name").await, mark);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_hand_overs_leak_nothing_and_lose_nothing() {
    let (postgres, server) = world_with(&[("POOL_SIZE", "2")]).await;
    let owner = postgres.owner().await;
    let mut visits = Vec::new();
    for (number, (user, playlists)) in
        [(PREMIUM, "4"), (OTHER_PREMIUM, "4"), (ADMIN, "11")].repeat(3).into_iter().enumerate()
    {
        let account = value(&owner, &format!("select user_id from app_user where email = '{user}'")).await;
        let mark = format!("mark{number}");
        let mut config = server.config(user, PASSWORD);
        config.application_name(&mark);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        visits.push(tokio::spawn(visit(client, account, playlists, mark)));
    }
    let superuser = postgres.superuser().await;
    for visit in visits {
        visit.await.unwrap();
    }
    for role in ["tier_premium", "tier_admin"] {
        assert!(database_sessions(&superuser, role).await <= 2, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_leaves_reaches_the_next_one() {
    for mode in ["transaction", "session"] {
        let (postgres, server) = world_with(&[("POOL_SIZE", "1"), ("POOL_MODE", mode)]).await;
        let superuser = postgres.superuser().await;
        postgres.grant_temporary_tables().await;
        // Who may leave it, what, and whether it ties its client to the only place there is. An admin's reset is waited for; that of
        // the other tiers goes out within the next owner's first write.
        for (leavers, leaving, ties) in [
            ("free premium admin", "set timezone = 'Asia/Tokyo'", false),
            ("free premium admin", "set work_mem = '5MB'", true),
            ("free premium admin", "select set_config('timezone', 'Asia/Tokyo', false)", false),
            ("free premium admin", "select set_config('work_mem', '5MB', false)", false),
            ("admin", "do $$ begin perform set_config('timezone', 'Asia/Tokyo', false); end $$", false),
            ("admin", "do $$ begin perform set_config('statement_timeout', '1', false); end $$", false),
            ("free premium admin", "set statement_timeout = 5000", true),
            ("admin", "select pg_advisory_lock(42)", false),
            ("admin", "create temp table left_behind (a int)", true),
            ("admin", "select 1 as a into temp left_behind", false),
            ("free premium admin", "prepare left_behind as select 1", true),
            ("free premium admin", "declare left_behind cursor with hold for select 1", true),
            ("free premium admin", "listen left_behind", true),
            ("admin", "insert into genre (name) values ('Left behind ' || random())", false),
            ("premium", "insert into artist (name) values ('Left behind ' || random())", false),
            ("free", "select record_play(1)", false),
            ("premium admin", "set session characteristics as transaction read only", true),
            ("admin", "set session authorization tier_admin", true),
            ("admin", "set role tier_admin", true),
        ] {
            for (tier, one, other, timeout) in [
                ("free", FREE, FREE, "15s"),
                ("premium", PREMIUM, OTHER_PREMIUM, "30s"),
                ("admin", ADMIN, ADMIN, "0"),
            ] {
                if !leavers.split(' ').any(|leaver| leaver == tier) {
                    continue;
                }
                let leaver = server.connect(one).await;
                ask(&leaver, leaving).await.unwrap();
                let still_there = server.connect(other);
                if ties || mode == "session" {
                    drop(leaver);
                }
                let next = still_there.await;
                let state = "select current_setting('timezone') || ' ' || current_setting('statement_timeout')
                    || ' ' || current_setting('work_mem')
                    || ' ' || current_setting('transaction_read_only')
                    || ' ' || (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
                    || ' ' || (select count(*) from pg_class where relname = 'left_behind')
                    || ' ' || (select count(*) from pg_prepared_statements where name = 'left_behind')
                    || ' ' || (select count(*) from pg_cursors where name = 'left_behind')
                    || ' ' || (select count(*) from pg_listening_channels())
                    || ' ' || session_user || ' ' || current_setting('role')";
                let zone = value(&superuser, "show timezone").await;
                let read_only = if tier == "free" { "on" } else { "off" };
                assert_eq!(
                    value(&next, state).await,
                    format!("{zone} {timeout} 4MB {read_only} 0 0 0 0 0 tier_{tier} none"),
                    "{mode}: {leaving}"
                );
                assert_eq!(
                    ask(&next, "select lastval()").await,
                    Err("55000".to_owned()),
                    "{mode}: {leaving}"
                );
                assert_eq!(database_sessions(&superuser, &format!("tier_{tier}")).await, 1);
            }
        }
        let held = "select count(*) from pg_locks where locktype = 'advisory'";
        let leaver = server.connect(ADMIN).await;
        ask(&leaver, "select pg_advisory_lock(42)").await.unwrap();
        drop(leaver);
        let left = Instant::now();
        while value(&superuser, held).await != "0" {
            assert!(left.elapsed() < Duration::from_secs(10), "a lock outlives its client");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_a_reset_fail_costs_nobody_else_a_session() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "1")]).await;
    let (one, other) = (server.connect(ADMIN).await, server.connect(ADMIN).await);
    for _ in 0..3 {
        // Too much to be discarded within a millisecond.
        let trap = "do $$ begin
            for number in 1..20000 loop execute format('prepare trap%s as select 1', number); end loop;
            perform set_config('statement_timeout', '1', false);
        end $$";
        ask(&one, trap).await.unwrap();
        assert_eq!(value(&other, "select 'served'").await, "served");
        assert_eq!(value(&server.connect(ADMIN).await, "select 'served'").await, "served");
        assert_eq!(value(&one, "select current_setting('statement_timeout')").await, "0");
    }
    // What others may say does it too: discarded by themselves, or by the server once they have left.
    let next = server.connect(OTHER_PREMIUM).await;
    for discards in [true, false] {
        let leaver = server.connect(PREMIUM).await;
        for part in 0..20 {
            let plans: Vec<_> = (0..1000).map(|plan| format!("prepare p{part}_{plan} as select 1")).collect();
            ask(&leaver, &plans.join(";")).await.unwrap();
        }
        ask(&leaver, "set statement_timeout = 1").await.unwrap();
        if discards {
            let _ = ask(&leaver, "discard all").await;
        }
        drop(leaver);
        assert_eq!(value(&next, "select 'served'").await, "served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_database_session_is_told_and_served_or_refused_in_time() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "1"), ("QUEUE_TIMEOUT_S", "4")]).await;
    let busy = server.connect(PREMIUM).await;
    let mut waiting = Raw::connect(&server, OTHER_PREMIUM);
    ask(&busy, "begin; select 1").await.unwrap();
    let mut out = BytesMut::new();
    frontend::query("select 'served'", &mut out).unwrap();
    waiting.send(&out);
    let (kind, body) = waiting.receive();
    assert_eq!(kind, b'N');
    assert!(String::from_utf8_lossy(&body).contains("waiting for one"));
    ask(&busy, "commit").await.unwrap();
    let (kinds, bodies) = waiting.until(b'Z');
    assert_eq!(kinds, "TDCZ");
    assert!(bodies.contains("served"));

    ask(&busy, "begin; select 1").await.unwrap();
    waiting.send(&out);
    let (kinds, bodies) = waiting.until(b'E');
    assert_eq!(kinds, "NE");
    assert!(bodies.contains("53300"), "{bodies}");
    // Who has not logged in yet waits like the others.
    let late = server.psql(OTHER_PREMIUM, PASSWORD, &["-c", "select 1"]);
    let told = String::from_utf8_lossy(&late.stderr);
    assert!(told.contains("waiting for one") && told.contains("none became free in time"), "{late:?}");
    ask(&busy, "commit").await.unwrap();
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_does_not_notice_that_the_database_restarts() {
    let (postgres, server) = world_with(&[]).await;
    let (client, tied) = (server.connect(PREMIUM).await, server.connect(PREMIUM).await);
    let statement = client.prepare("select $1::int").await.unwrap();
    ask(&tied, "set work_mem = '5MB'").await.unwrap();
    let superuser = postgres.superuser().await;
    for _ in 0..5 {
        ask(&superuser, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename like 'tier%' or usename = 'app_auth'")
            .await
            .unwrap();
        assert_eq!(client.query_one(&statement, &[&7]).await.unwrap().get::<_, i32>(0), 7);
    }
    eventually("who had state of its own has been told", || tied.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancel_does_not_hit_the_next_owner() {
    let (_postgres, server) = world_with(&[("POOL_SIZE", "1")]).await;
    let (canceller, victim) = (server.connect(PREMIUM).await, server.connect(OTHER_PREMIUM).await);
    let token = canceller.cancel_token();
    let honest = tokio::spawn(async move {
        // Long enough to be hit by what comes late.
        for round in 0..150 {
            let asked = format!("select {round} from pg_sleep(0.01)");
            assert_eq!(value(&victim, &asked).await, round.to_string());
        }
    });
    let cancelling = tokio::spawn(async move {
        loop {
            token.cancel_query(NoTls).await.unwrap();
        }
    });
    while !honest.is_finished() {
        // Cancelled or not: most of the cancels come when the other one has the database session.
        let _ = ask(&canceller, "select pg_sleep(0.02)").await;
    }
    honest.await.unwrap();
    // The cancels are real: what has the database session to itself does not get to its end, nor to the limit of its tier.
    let alone = tokio::time::timeout(Duration::from_secs(20), ask(&canceller, "select pg_sleep(60)")).await;
    assert!(alone.expect("a cancel came").is_err());
    cancelling.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_session_that_ends_in_a_commit_is_not_given_back() {
    let (postgres, server) = world_with(&[]).await;
    let admin = server.connect(ADMIN).await;
    admin
        .batch_execute(
            "create table late (mark int);
             create function slow() returns trigger language plpgsql as
                 'begin if new.mark = 0 then raise exception ''not zero''; end if; perform pg_sleep(60); return null; end';
             create constraint trigger slow after insert on late deferrable initially deferred for each row execute function slow()",
        )
        .await
        .unwrap();
    let mut raw = Raw::connect(&server, ADMIN);
    let commit = |raw: &mut Raw, mark: &str| {
        let mut out = BytesMut::new();
        let insert = format!("insert into late values ({mark})");
        frontend::parse("", &insert, [], &mut out).unwrap();
        frontend::bind("", "", [], [], |(): (), _| Ok(postgres_protocol::IsNull::No), [], &mut out)
            .ok()
            .unwrap();
        frontend::execute("", 0, &mut out).unwrap();
        frontend::flush(&mut out);
        raw.send(&out);
        assert_eq!(raw.until(b'C').0, "12C");
        // The commit is all that is left to be answered.
        out.clear();
        frontend::sync(&mut out);
        raw.send(&out);
    };
    commit(&mut raw, "0");
    assert_eq!(raw.until(b'Z').0, "EZ");
    assert_eq!(raw.query("select 1").0, "TDCZ");
    commit(&mut raw, "1");
    let superuser = postgres.superuser().await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'";
    while value(&superuser, kill).await == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (kinds, said) = raw.until(b'E');
    assert!(kinds == "E" && said.contains("57P01"), "{kinds} {said}");
    // The client hears that this was the end; it would wait for ReadyForQuery for ever.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut raw.stream, &mut rest).expect("the server ends the session");
    assert_eq!(value(&superuser, "select count(*) from workspace.late").await, "0");
}

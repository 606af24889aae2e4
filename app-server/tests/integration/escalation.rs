//! Attempts to get more than a tier has. What counts is the state of the whole cluster: it must be the same afterwards.

use crate::harness::{FREE, PASSWORD, PREMIUM, ask, eventually, value, world};

/// Known ways around a permission check on the text of a statement, and around a role that many people share.
const ATTEMPTS: &[&str] = &[
    "select 1; delete from content",
    "with d as (delete from content returning *) select * from d",
    "select * into stolen from content",
    "do $$ begin delete from content; end $$",
    "begin read write; delete from content; commit",
    "begin read write; do $$ begin execute 'drop table content'; end $$; commit",
    "set transaction read write; truncate content",
    "set role tier_admin",
    "set role music_owner",
    "set session authorization tier_admin",
    "select set_config('role', 'tier_admin', false)",
    "select set_config('session_authorization', 'postgres', false)",
    "select set_config('is_superuser', 'on', false)",
    "reset role; delete from content",
    "reset session authorization; delete from content",
    "create table mine (a int)",
    "create temp table content (a int)",
    "create function pg_temp.f() returns int language sql as 'select 1'",
    "create schema mine",
    "create extension pgcrypto",
    "copy content to program 'cat'",
    "copy content from program 'cat'",
    "copy (select 1) to '/tmp/stolen'",
    "copy content (title, duration_s, content_type) from '/etc/passwd'",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select lo_import('/etc/passwd')",
    "load 'plpgsql'",
    "alter system set work_mem = '1MB'",
    "set session_preload_libraries = 'x'",
    "select * from pg_authid",
    "select * from pg_shadow",
    "select * from private.credential",
    "select private.hmac_sha256('a', 'b')",
    "select * from private.find_login('admin@example.com')",
    "alter table content owner to tier_free",
    "alter table playlist disable row level security",
    "drop policy own_rows on playlist",
    "grant tier_admin to tier_free",
    "grant tier_admin to tier_premium",
    "alter role tier_free superuser",
    "alter role tier_premium bypassrls",
    "update app_user set account_type = 'admin'",
    "insert into payment (subscription_id, amount_cents) values (1, 1)",
    "select expire_subscriptions('2999-01-01')",
    "lock table content in access exclusive mode",
    "comment on table content is 'mine'",
    "create publication p for all tables",
    "select pg_logical_emit_message(false, 'x', repeat('y', 10))::text || pg_switch_wal()",
    "select pg_reload_conf()",
    "select nextval('content_content_id_seq')",
    "select setval('content_content_id_seq', 1)",
    "vacuum content",
    "reindex table content",
    // What grants alone leave open to people who share a role.
    "begin read write; alter role tier_free password 'stolen'; commit",
    "begin read write; alter role tier_premium password 'stolen'; commit",
    "alter role tier_premium set search_path = pg_catalog",
    "alter role tier_premium in database music set row_security = off",
    "do $$ begin execute 'alter role tier_premium set work_mem = 64'; end $$",
    "select lo_create(4711)",
    "select lo_from_bytea(4712, 'stored')",
    "select query from pg_stat_activity",
    "select * from pg_stat_get_activity(null)",
    "select query_to_xml('select query from pg_stat_activity', true, true, '')",
    "select pg_terminate_backend(pid) from generate_series(1, 100) as pid",
    "select pg_advisory_lock(1)",
    "select U&\"lo_cr\\0065ate\"(4713)",
];

#[tokio::test]
async fn no_attempt_changes_anything() {
    let (postgres, server) = world().await;
    let before = postgres.dump();
    for user in [FREE, PREMIUM] {
        for attempt in ATTEMPTS {
            // A session per attempt: what one leaves behind must not make the next one fail.
            let client = server.connect(user).await;
            let simple = ask(&client, attempt).await;
            let prepared = client.query(*attempt, &[]).await;
            let harmless = attempt.starts_with("reset")
                || attempt.starts_with("vacuum")
                || attempt.starts_with("copy (");
            if !harmless {
                assert!(simple.is_err(), "{user}: {attempt}");
                assert!(prepared.is_err(), "{user}: {attempt}");
            }
        }
    }
    let after = postgres.dump();
    let changed = before.lines().zip(after.lines()).find(|(before, after)| before != after);
    assert_eq!(changed, None);
    assert_eq!(before.len(), after.len());
    for attempt in ["delete", "stolen"] {
        let statements = server.lines();
        let denied = statements.iter().any(|record| {
            record["audit"] == "statement"
                && record["outcome"] != "success"
                && record["sql"].as_str().is_some_and(|sql| sql.contains(attempt))
        });
        assert!(denied, "the audit has the attempts: {attempt}");
    }
}

#[tokio::test]
async fn a_refusal_comes_in_its_turn_and_leaves_the_session_usable() {
    let (_postgres, server) = world().await;
    let client = server.connect(PREMIUM).await;
    let error = client.prepare("select lo_create($1)").await.unwrap_err();
    let refusal = error.as_db_error().unwrap();
    assert_eq!(
        (refusal.code().code(), refusal.message()),
        ("42501", "permission denied: `lo_create` may not be used")
    );
    assert!(refusal.hint().unwrap().contains("`premium`"));
    // Pipelined: what was sent before is answered, what was sent after too.
    let (before, refused, after) = tokio::join!(
        client.query("select 'before'", &[]),
        client.query("select lo_create(1)", &[]),
        client.query("select 'after'", &[])
    );
    assert!(before.is_ok() && refused.is_err() && after.is_ok());
    // In a transaction it does what any error does.
    ask(&client, "begin").await.unwrap();
    assert_eq!(ask(&client, "alter role tier_premium password 'x'").await, Err("42501".to_owned()));
    assert_eq!(ask(&client, "select 1").await, Err("25P02".to_owned()));
    ask(&client, "rollback").await.unwrap();
    assert_eq!(ask(&client, "selec 1").await, Err("42601".to_owned()));
    assert_eq!(value(&client, "select 1").await, "1");
    eventually("the audit has the person's own words", || {
        server
            .lines()
            .iter()
            .any(|line| line["sql"] == "alter role tier_premium password 'x'" && line["outcome"] == "denied")
    });
}

#[tokio::test]
async fn psql_describes_what_there_is() {
    let (_postgres, server) = world().await;
    for user in [FREE, PREMIUM] {
        for command in [
            "\\d",
            "\\d content",
            "\\d+ playlist",
            "\\dt",
            "\\dv",
            "\\di",
            "\\df",
            "\\dn",
            "\\dp",
            "\\du",
            "\\drds",
            "\\l",
            "\\sf record_play",
            "\\dT",
        ] {
            let output = server.psql(user, PASSWORD, &["-c", command]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(stderr.is_empty(), "{command}: {stderr}");
        }
    }
}

#[tokio::test]
async fn settings_and_passwords_stored_on_a_shared_role_do_not_reach_the_next_person() {
    let (postgres, server) = world().await;
    let superuser = postgres.superuser().await;
    for (role, user) in [("tier_free", FREE), ("tier_premium", PREMIUM)] {
        // Put there as if by somebody who shares the role and found a way to say it.
        for setting in [
            "search_path = pg_catalog",
            "statement_timeout = 1",
            "enable_seqscan = off",
            "row_security = off",
        ] {
            superuser.batch_execute(&format!("alter role {role} set {setting}")).await.unwrap();
            superuser
                .batch_execute(&format!("alter role {role} in database music set {setting}"))
                .await
                .unwrap();
        }
        let client = server.connect(user).await;
        assert_eq!(value(&client, "show enable_seqscan").await, "on");
        assert_eq!(value(&client, "select count(*) from content").await, "10");
        superuser.batch_execute(&format!("alter role {role} password 'stolen'")).await.unwrap();
        let client = server.connect(user).await;
        assert_eq!(value(&client, "select count(*) from content").await, "10");
    }
    let events: Vec<_> =
        server.lines().iter().filter_map(|line| line["event"].as_str().map(str::to_owned)).collect();
    assert!(events.iter().any(|event| event == "role_setting_removed"), "{events:?}");
    assert!(events.iter().any(|event| event == "tier_login_restored"), "{events:?}");
}

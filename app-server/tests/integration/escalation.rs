//! What a refusal does to a session, and what shared roles must survive. The attempts themselves are in `corpus`.

use crate::harness::{FREE, PASSWORD, PREMIUM, ask, eventually, value, world};

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

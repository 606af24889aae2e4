//! What a statement or a stranger may cost: time and rows, counted outside the session that could change its own settings.

use crate::harness::{ADMIN, PREMIUM, Postgres, Server, ask, value};

#[tokio::test]
async fn a_tiers_limits_hold_whatever_the_session_sets() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server =
        Server::start_with(&postgres, &[("PREMIUM_STATEMENT_TIMEOUT_S", "1"), ("PREMIUM_ROW_LIMIT", "1000")]);
    server.wait_until_ready();
    let (premium, admin) = (server.connect(PREMIUM).await, server.connect(ADMIN).await);

    // PostgreSQL's own clock first.
    assert_eq!(ask(&premium, "select pg_sleep(20)").await, Err("57014".to_owned()));
    ask(&premium, "set statement_timeout = 0").await.unwrap();
    let error = premium.batch_execute("select pg_sleep(20)").await.unwrap_err();
    let answer = error.as_db_error().unwrap();
    assert_eq!(answer.code().code(), "57014");
    assert!(answer.message().contains("1 s, the limit of a `premium` account"), "{answer:?}");
    assert_eq!(value(&premium, "select 'usable'").await, "usable");

    assert_eq!(ask(&premium, "select * from generate_series(1, 1000)").await.unwrap().len(), 1000);
    let error = premium.query("select i from generate_series(1, 10000000) as i", &[]).await.unwrap_err();
    let answer = error.as_db_error().unwrap();
    assert_eq!(answer.code().code(), "54000");
    assert!(answer.message().contains("1000 rows"), "{answer:?}");
    assert_eq!(value(&premium, "select 'usable'").await, "usable");

    assert_eq!(
        ask(&admin, "select i from generate_series(1, 5000) as i, pg_sleep(1.5)").await.unwrap().len(),
        5000
    );
}

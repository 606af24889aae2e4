//! The rules that the database keeps: plays per day, playlists, payments, expiry, counters; and the sample's counts.

use crate::harness::{FREE, PREMIUM, Postgres, ask, value, world};

async fn filled() -> Postgres {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    postgres
}

const FREE_ID: &str = "(select user_id from app_user where email = 'free@example.com')";
const PREMIUM_ID: &str = "(select user_id from app_user where email = 'premium@example.com')";

#[tokio::test]
async fn the_sample_has_the_counts_that_are_promised() {
    let postgres = filled().await;
    let owner = postgres.owner().await;
    for (sql, expected) in [
        ("select count(*) from account_type", "3"),
        ("select count(*) from app_user where account_type <> 'admin'", "6"),
        ("select count(*) from app_user where account_type = 'free'", "3"),
        ("select count(*) from content where content_type = 'song'", "7"),
        ("select count(*) from content where content_type = 'podcast'", "3"),
        ("select min(duration_s) || ' ' || max(duration_s) from content", "206 2215"),
        ("select count(*) from artist", "10"),
        ("select count(*) from genre", "10"),
        ("select count(*) from album", "16"),
        ("select count(*) from playlist", "11"),
        ("select count(*) from playlist_item", "66"),
        ("select count(*) from playback", "5"),
        ("select count(*) from payment join subscription using (subscription_id) join payment_method using (user_id)
          where payment.method_id = payment_method.method_id and status = 'active'", "3"),
        // Nothing in any text column looks like a card number, and no column is for a CVV or a password.
        ("select count(*) from information_schema.columns
          where table_schema in ('public', 'private') and column_name ~ 'cvv|passw|card_number'", "0"),
    ] {
        assert_eq!(value(&owner, sql).await, expected, "{sql}");
    }
    assert!(!postgres.dump().lines().any(|line| {
        line.split('\t')
            .any(|field| (13..=19).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit()))
    }));
}

#[tokio::test]
async fn a_free_account_plays_ten_contents_a_day() {
    let postgres = filled().await;
    let (one, two) = (postgres.owner().await, postgres.owner().await);
    let play = format!("insert into playback (user_id, content_id) values ({FREE_ID}, 1)");
    for _ in 0..9 {
        ask(&one, &play).await.unwrap();
    }
    // Two at once at nine: one waits for the other, and is refused.
    ask(&one, "begin").await.unwrap();
    ask(&one, &play).await.unwrap();
    let waiting = tokio::spawn({
        let play = play.clone();
        async move { ask(&two, &format!("begin isolation level repeatable read; {play}; commit")).await }
    });
    let watcher = postgres.owner().await;
    let blocked = "select count(*) from pg_locks where not granted";
    while value(&watcher, blocked).await == "0" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    ask(&one, "commit").await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(ask(&one, &play).await, Err("MU001".to_owned()));
    let today = format!(
        "select count(*) from playback where user_id = {FREE_ID} and played_at >= date_trunc('day', now(), 'UTC')"
    );
    assert_eq!(value(&one, &today).await, "10");
    for _ in 0..12 {
        ask(&one, &format!("insert into playback (user_id, content_id) values ({PREMIUM_ID}, 1)"))
            .await
            .unwrap();
    }
    let counted = "select bool_and(play_count = (select count(*) from playback p where p.content_id = c.content_id)) from content c";
    assert_eq!(value(&one, counted).await, "t");
    ask(&one, "delete from playback where content_id = 1").await.unwrap();
    assert_eq!(value(&one, counted).await, "t");
}

#[tokio::test]
async fn payments_make_premium_and_the_lack_of_them_free() {
    let postgres = filled().await;
    let owner = postgres.owner().await;
    let playlist = format!("insert into playlist (owner_id, name) values ({FREE_ID}, 'First')");
    assert_eq!(ask(&owner, &playlist).await, Err("MU002".to_owned()));
    ask(&owner, &format!("insert into subscription (user_id, plan_code) values ({FREE_ID}, 'monthly')"))
        .await
        .unwrap();
    let pay = format!(
        "insert into payment (subscription_id, amount_cents)
        select subscription_id, 1000 from subscription where user_id = {FREE_ID}"
    );
    ask(&owner, &pay).await.unwrap();
    ask(&owner, &playlist).await.unwrap();
    ask(&owner, &pay).await.unwrap();
    let days = format!(
        "select round(extract(epoch from valid_until - started_at) / 86400) from subscription where user_id = {FREE_ID}"
    );
    assert_eq!(value(&owner, &days).await, "62");
    let tier = format!("select account_type from app_user where user_id = {FREE_ID}");
    let end = value(&owner, &format!("select valid_until from subscription where user_id = {FREE_ID}")).await;
    assert_eq!(value(&owner, &format!("select expire_subscriptions('{end}')")).await, "3");
    assert_eq!(value(&owner, &tier).await, "premium");
    assert_eq!(
        value(&owner, &format!("select expire_subscriptions('{end}'::timestamptz + interval '1 day')")).await,
        "1"
    );
    assert_eq!(value(&owner, &tier).await, "free");
    assert_eq!(
        value(&owner, &format!("select count(*) from playlist where owner_id = {FREE_ID}")).await,
        "1"
    );
}

#[tokio::test]
async fn a_person_records_a_play_of_the_own_account() {
    let (postgres, server) = world().await;
    let owner = postgres.owner().await;
    let free = server.connect(FREE).await;
    let plays = format!("select count(*) from playback where user_id = {FREE_ID}");
    for expected in 3..=5 {
        ask(&free, "select record_play(1)").await.unwrap();
        assert_eq!(value(&owner, &plays).await, expected.to_string());
    }
    // As a driver sends it: prepared once, run several times; in psql's spelling too.
    let statement = free.prepare("SELECT record_play($1)").await.unwrap();
    for content in [1_i64, 2] {
        free.query(&statement, &[&content]).await.unwrap();
    }
    free.query("select record_play($1);", &[&3_i64]).await.unwrap();
    assert_eq!(value(&owner, &plays).await, "8");
    // Neither inside a transaction block, nor with anything beside it.
    assert_eq!(ask(&free, "begin; select record_play(1)").await, Err("42501".to_owned()));
    ask(&free, "rollback").await.unwrap();
    assert_eq!(ask(&free, "select record_play(1), 1 from content").await, Err("42501".to_owned()));
    assert_eq!(value(&free, "show transaction_read_only").await, "on");
    for _ in 0..4 {
        ask(&free, "select record_play(4)").await.unwrap();
    }
    assert_eq!(ask(&free, "select record_play(4)").await, Err("MU001".to_owned()));
    let premium = server.connect(PREMIUM).await;
    ask(&premium, "select record_play(1)").await.unwrap();
}

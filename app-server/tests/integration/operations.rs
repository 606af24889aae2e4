//! The nine named operations, each as an administrator runs it through the server.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::harness::{ADMIN, PREMIUM, world};

fn operation(number: u8) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/operations");
    let file = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{number}_")))
        .unwrap();
    let sql = fs::read_to_string(file).unwrap();
    assert!(sql.starts_with("-- "), "the first line says what it is for");
    sql
}

async fn run(client: &Client, number: u8, parameters: &[&(dyn ToSql + Sync)]) -> Vec<tokio_postgres::Row> {
    client
        .query(&operation(number), parameters)
        .await
        .unwrap_or_else(|error| panic!("operation {number}: {error:?}"))
}

#[tokio::test]
async fn every_named_operation_does_what_it_says() {
    let (postgres, server) = world().await;
    let admin = server.connect(ADMIN).await;
    let owner = postgres.owner().await;
    let number = async |sql: &str| owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);

    let registered = run(&admin, 1, &[&"New@example.com", &"Nina", &"West"]).await;
    assert_eq!(registered[0].get::<_, &str>("account_type"), "free");
    let added = run(&admin, 2, &[&"Paper Moon", &222, &"song", &"Brand New Band", &"folk"]).await;
    assert_eq!(added.len(), 1);
    assert_eq!(run(&admin, 2, &[&"Paper Moon", &230, &"song", &"Mira Solano", &"fado"]).await.len(), 1);
    assert_eq!(run(&admin, 3, &[&PREMIUM, &"Morning", &"paper moon"]).await[0].get::<_, i32>("position"), 7);
    assert_eq!(run(&admin, 4, &[&"PAPER MOON"]).await.len(), 2);
    assert_eq!(run(&admin, 5, &[&"Mira Solano", &"Azulejo"]).await[0].get::<_, i64>("track_count"), 1);
    assert!(run(&admin, 5, &[&"Mira Solano", &"No such album"]).await.is_empty());
    assert_eq!(run(&admin, 6, &[&PREMIUM, &"Morning"]).await[0].get::<_, i64>("track_count"), 7);
    assert_eq!(
        run(&admin, 7, &[&"lantern song", &"the paper lanterns"]).await[0].get::<_, i64>("play_count"),
        2
    );
    assert_eq!(run(&admin, 8, &[&"new@example.com"]).await.len(), 1);
    run(&admin, 8, &[&"NEW@example.com"]).await;
    assert_eq!(number("select count(*) from app_user where lower(email) = 'new@example.com' and account_type = 'premium'").await, 1);
    assert_eq!(number("select count(*) from payment").await, 5);
    assert_eq!(run(&admin, 9, &[&PREMIUM]).await.len(), 1);
    assert_eq!(number("select count(*) from playlist").await, 7);
    assert_eq!(number("select count(*) from payment").await, 5);

    let juno = server.connect(crate::harness::OTHER_PREMIUM).await;
    assert_eq!(run(&juno, 3, &[&"juno@example.com", &"Running", &"paper moon"]).await.len(), 1);
    assert!(run(&juno, 3, &[&"silas@example.com", &"Asleep", &"paper moon"]).await.is_empty());
}

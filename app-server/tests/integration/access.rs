//! Who may do what: the tiers' matrix, private rows, and what a denied person is told.

use crate::harness::{ADMIN, FREE, OTHER_PREMIUM, PREMIUM, Postgres, Server, ask, value, world};

const DENIED: &str = "42501";

#[tokio::test]
async fn each_tier_runs_exactly_the_statements_of_the_matrix() {
    let (_postgres, server) = world().await;
    let (free, premium, admin) =
        (server.connect(FREE).await, server.connect(PREMIUM).await, server.connect(ADMIN).await);
    // Statement, and whether free, premium, admin may run it.
    let matrix = [
        ("select title, duration_s from content order by title limit 5", [true, true, true]),
        ("explain select * from content", [true, true, true]),
        ("with c as (select * from content) select count(*) from c", [true, true, true]),
        (
            "insert into content (title, duration_s, content_type) values ('New', 200, 'song')",
            [false, true, true],
        ),
        ("update content set duration_s = duration_s + 1 where title = 'New'", [false, true, true]),
        ("insert into playlist (name) values ('Mine')", [false, true, true]),
        ("insert into user_genre (genre_id) values (9)", [false, true, true]),
        ("update content set play_count = 99", [false, false, true]),
        ("update app_user set account_type = 'admin'", [false, false, false]),
        ("delete from content where title = 'New'", [false, false, true]),
        ("create table notes (line text)", [false, false, true]),
        ("drop table notes", [false, false, true]),
        ("create table public.notes (line text)", [false, false, false]),
        (
            "create function public.expire_subscriptions() returns bigint language sql as 'select 1'",
            [false, false, false],
        ),
        ("drop table content", [false, false, false]),
        ("truncate content", [false, false, false]),
        ("create role intruder", [false, false, false]),
        ("select tax_code from app_user", [false, false, true]),
        ("select provider_token from payment_method", [false, false, false]),
        ("select * from private.credential", [false, false, false]),
        ("select private.find_login('admin@example.com')", [false, false, false]),
        ("select private.set_identity_key('AAAA')", [false, false, false]),
    ];
    for (sql, allowed) in matrix {
        for ((client, tier), allowed) in
            [(&free, "free"), (&premium, "premium"), (&admin, "admin")].into_iter().zip(allowed)
        {
            // The matrix says that an admin may change accounts; making everybody an admin is not what a test should keep.
            if sql.starts_with("update app_user") && tier == "admin" {
                continue;
            }
            match ask(client, sql).await {
                Ok(_) => assert!(allowed, "{tier} may: {sql}"),
                Err(code) => {
                    assert!(!allowed, "{tier} may not ({code}): {sql}");
                    assert_eq!(code, DENIED, "{tier}: {sql}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_person_sees_and_writes_only_own_rows() {
    let (postgres, server) = world().await;
    let owner = postgres.owner().await;
    let (free, premium, juno, admin) = (
        server.connect(FREE).await,
        server.connect(PREMIUM).await,
        server.connect(OTHER_PREMIUM).await,
        server.connect(ADMIN).await,
    );
    for (client, playlists, people, payments) in
        [(&free, 0, 1, 0), (&premium, 4, 1, 1), (&juno, 4, 1, 1), (&admin, 11, 7, 3)]
    {
        assert_eq!(value(client, "select count(*) from playlist").await, playlists.to_string());
        assert_eq!(value(client, "select count(*) from playlist_summary").await, playlists.to_string());
        assert_eq!(value(client, "select count(email) from app_user").await, people.to_string());
        assert_eq!(value(client, "select count(*) from payment").await, payments.to_string());
    }
    let juno_id = value(&owner, "select user_id from app_user where email = 'juno@example.com'").await;
    let juno_list =
        value(&owner, &format!("select min(playlist_id) from playlist where owner_id = {juno_id}")).await;
    let before = postgres.dump();
    for sql in [
        format!("insert into playlist (owner_id, name) values ({juno_id}, 'Forged')"),
        format!("insert into playlist_item (playlist_id, content_id, position) values ({juno_list}, 1, 90)"),
        format!("insert into playback (user_id, content_id) values ({juno_id}, 1)"),
        format!("insert into user_genre (user_id, genre_id) values ({juno_id}, 3)"),
    ] {
        assert_eq!(ask(&premium, &sql).await, Err(DENIED.to_owned()), "{sql}");
    }
    // No row of another person is there to be changed.
    for sql in [
        format!("update playlist set name = 'Forged' where owner_id = {juno_id}"),
        format!("update playlist_item set position = 50 where playlist_id = {juno_list}"),
    ] {
        ask(&premium, &sql).await.unwrap();
    }
    let identities = |dump: &str| {
        dump.lines().filter(|line| !line.contains("setval")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(identities(&before), identities(&postgres.dump()));
}

#[tokio::test]
async fn an_identity_cannot_be_forged_carried_over_or_lost() {
    let (postgres, server) = world().await;
    let (premium, juno) = (server.connect(PREMIUM).await, server.connect(OTHER_PREMIUM).await);
    let own = value(&premium, "select current_setting('app.identity')").await;
    let foreign = value(&juno, "select current_setting('app.identity')").await;
    let owner = postgres.owner().await;
    let admin_id = value(&owner, "select user_id from app_user where account_type = 'admin'").await;
    let signature = own.split_once(':').unwrap().1.to_owned();
    for forged in [
        foreign,
        format!("{admin_id}:{signature}"),
        format!("{admin_id}:{}", "0".repeat(64)),
        admin_id,
        String::new(),
    ] {
        ask(&premium, &format!("select set_config('app.identity', '{forged}', false)")).await.unwrap();
        assert_eq!(value(&premium, "select count(*) from playlist").await, "0", "{forged}");
    }
    // What a driver's pool does between two users of its own brings the identity back.
    for reset in ["reset all", "discard all"] {
        ask(&premium, reset).await.unwrap();
        assert_eq!(value(&premium, "select count(*) from playlist").await, "4", "{reset}");
        let rows = premium.query("select count(*) from playlist", &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, i64>(0), 4, "{reset}");
    }
}

/// A session that keeps its database session gets the identity back there.
#[tokio::test]
async fn an_identity_comes_back_to_a_database_session_that_is_kept() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("POOL_MODE", "session")]);
    server.wait_until_ready();
    let premium = server.connect(PREMIUM).await;
    for reset in ["reset all", "discard all"] {
        ask(&premium, reset).await.unwrap();
        assert_eq!(value(&premium, "select count(*) from playlist").await, "4", "{reset}");
    }
}

#[tokio::test]
async fn a_denial_names_the_tier_and_what_it_may_do() {
    let (_postgres, server) = world().await;
    for (user, tier) in [(FREE, "`free`"), (PREMIUM, "`premium`")] {
        let error = server.connect(user).await.batch_execute("delete from content").await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), DENIED);
        let hint = error.hint().unwrap();
        assert!(hint.contains(tier) && hint.contains("SELECT"), "{hint}");
    }
}

#[tokio::test]
async fn functions_are_for_whom_they_are_granted_to_and_look_nothing_up_in_foreign_schemas() {
    let (postgres, _server) = world().await;
    let superuser = postgres.superuser().await;
    let ours = "from pg_proc p where pronamespace in ('public'::regnamespace, 'private'::regnamespace)";
    assert_ne!(value(&superuser, &format!("select count(*) {ours}")).await, "0");
    let everybodys = format!(
        "select string_agg(p.oid::regprocedure::text, ', ') {ours} and exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0)"
    );
    assert_eq!(value(&superuser, &everybodys).await, "");
    let unpinned = format!(
        "select string_agg(p.oid::regprocedure::text, ', ') {ours} and prosecdef
            and not coalesce(array_to_string(proconfig, ',') like '%search_path=pg_catalog, pg_temp%', false)"
    );
    assert_eq!(value(&superuser, &unpinned).await, "");
}

/// Where the migrations may, they take these from everybody; elsewhere it is the allow-list that refuses them.
#[tokio::test]
async fn a_superusers_migrations_close_what_people_of_a_tier_share() {
    let postgres = Postgres::start().await;
    let mut superuser = postgres.superuser().await;
    postgres.migrate_as(&mut superuser).await;
    for function in [
        "pg_cancel_backend(int)",
        "pg_terminate_backend(int, bigint)",
        "lo_creat(int)",
        "lo_create(oid)",
        "lo_from_bytea(oid, bytea)",
        "lo_put(oid, bigint, bytea)",
        "lowrite(int, bytea)",
        "lo_unlink(oid)",
        "lo_open(oid, int)",
    ] {
        let may =
            format!("select has_function_privilege('tier_premium', 'pg_catalog.{function}', 'execute')");
        assert_eq!(value(&superuser, &may).await, "f", "{function}");
    }
    let settings = "select string_agg(setting, ' ' order by rolname, setting) from pg_db_role_setting s
        join pg_roles r on r.oid = s.setrole, unnest(setconfig) setting";
    assert_eq!(
        value(&superuser, settings).await,
        "track_activities=off default_transaction_read_only=on temp_file_limit=256MB track_activities=off \
         temp_file_limit=1GB track_activities=off"
    );
}

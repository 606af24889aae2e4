//! Who may do what: the tiers' matrix, private rows, and what a denied person is told.

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use crate::harness::{ADMIN, FREE, OTHER_PREMIUM, PREMIUM, Postgres, Server, ask, value, world};
use crate::raw::Raw;

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
        ("update playlist set name = 'Still mine' where name = 'Mine'", [false, true, true]),
        ("update playlist_item set position = position", [false, true, true]),
        ("update user_genre set genre_id = genre_id", [false, true, true]),
        (
            "insert into playback (user_id, content_id) select user_id, 1 from app_user limit 1",
            [false, true, true],
        ),
        ("update playback set content_id = content_id", [false, true, true]),
        ("update playback set played_at = now()", [false, false, true]),
        ("update playback set user_id = user_id", [false, false, true]),
        ("update content set play_count = 99", [false, false, true]),
        ("begin; update app_user set account_type = 'admin'; rollback", [false, false, true]),
        ("do $$ begin perform 1; end $$", [false, false, true]),
        ("notify news", [false, false, true]),
        ("listen news", [true, true, true]),
        ("discard all", [true, true, true]),
        ("delete from content where title = 'New'", [false, false, true]),
        ("create table notes (line text)", [false, false, true]),
        ("grant select on notes to tier_premium", [false, false, true]),
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
            match ask(client, sql).await {
                Ok(_) => assert!(allowed, "{tier} may: {sql}"),
                Err(code) => {
                    assert!(!allowed, "{tier} may not ({code}): {sql}");
                    assert_eq!(code, DENIED, "{tier}: {sql}");
                    // Some are refused within a transaction of their own.
                    ask(client, "rollback").await.unwrap();
                }
            }
        }
    }
}

/// `docs/decisions/0013-what-a-tier-may-beside-the-matrix.md`: COPY to the client reads, and COPY from it inserts.
#[tokio::test]
async fn each_tier_copies_what_it_may_select_and_insert() {
    let (_postgres, server) = world().await;
    // CopyOutResponse, CopyInResponse or ErrorResponse, for free, premium, admin.
    for (sql, expected) in [
        ("copy content to stdout", "HHH"),
        ("copy playlist to stdout", "HHH"),
        ("copy (select title from content) to stdout", "HHH"),
        ("copy content (title, duration_s, content_type) from stdin", "EGG"),
        ("copy content (play_count) from stdin", "EEG"),
        ("copy app_user (tax_code) to stdout", "EEH"),
        ("copy payment_method (provider_token) to stdout", "EEE"),
        ("copy content to program 'cat'", "EEE"),
        ("copy content to '/tmp/stolen'", "EEE"),
        ("copy artist (name) from '/etc/passwd'", "EEE"),
    ] {
        for (user, expected) in [FREE, PREMIUM, ADMIN].into_iter().zip(expected.chars()) {
            let mut message = BytesMut::new();
            frontend::query(sql, &mut message).unwrap();
            let (kinds, bodies) = Raw::connect(&server, user).exchange(&message).unwrap();
            assert!(kinds.starts_with(expected), "{user}: {sql}: {kinds} {bodies}");
            assert!(expected != 'E' || bodies.contains(DENIED), "{user}: {sql}: {bodies}");
        }
    }
}

/// Another content is another's count: the counter stays the number of plays.
#[tokio::test]
async fn a_premium_account_corrects_its_own_plays_only() {
    let (postgres, server) = world().await;
    let (premium, juno) = (server.connect(PREMIUM).await, server.connect(OTHER_PREMIUM).await);
    for client in [&premium, &juno] {
        ask(client, "insert into playback (content_id) values (1)").await.unwrap();
    }
    ask(&premium, "update playback set content_id = 2").await.unwrap();
    let owner = postgres.owner().await;
    let counts = "select string_agg(play_count - (select count(*) from playback p where p.content_id = c.content_id) || '', '')
        from content c where content_id in (1, 2)";
    assert_eq!(value(&owner, counts).await, "00");
    let by_juno = "select count(*) from playback where content_id = 1";
    assert_eq!(value(&juno, by_juno).await, "1");
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
    // PostgreSQL has a hint of its own for some; it stays.
    let admin = server.connect(ADMIN).await;
    for (sql, own) in [
        ("copy content to program 'id'", "\\copy"),
        ("copy content to '/tmp/stolen'", "\\copy"),
        ("create extension hstore", "CREATE privilege"),
        ("truncate content", ""),
    ] {
        let error = admin.batch_execute(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), DENIED, "{sql}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("`admin`") && hint.contains("SELECT") && hint.contains(own), "{sql}: {hint}");
    }
}

#[tokio::test]
async fn what_is_declared_of_the_roles_is_what_they_hold() {
    let (postgres, _server) = world().await;
    let superuser = postgres.superuser().await;
    assert_ne!(value(&superuser, "select count(*) from private.declared_grant").await, "0");
    let missing = "select string_agg(concat_ws(' ', grantee, privilege, object), ', ') from (
        select * from private.declared_grant
        except select grantee, privilege, object from private.present_grant) missing";
    assert_eq!(value(&superuser, missing).await, "");
    assert_eq!(ask(&superuser, "select * from private.undeclared_grants()").await, Ok(Vec::new()));
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

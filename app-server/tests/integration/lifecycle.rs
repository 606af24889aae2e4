//! From a start without a database to the end by SIGTERM.

use std::process::Command;
use std::time::Duration;

use crate::harness::{
    ADMIN, FREE, PASSWORD, PREMIUM, Postgres, Server, ask, eventually, signal, value, world,
};

#[test]
fn what_is_missing_in_the_environment_is_told_at_once() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_app-server")).env_clear().env("LISTEN", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 7, "{stderr}");
    assert!(
        stderr.contains("LISTEN is not usable") && stderr.contains("IDENTITY_KEY is not set"),
        "{stderr}"
    );
}

// `eventually` blocks its thread while sessions go on in another.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_schema_the_key_and_the_roles() {
    let postgres = Postgres::start().await;
    let server = Server::start(&postgres);
    let not_ready = |why: &str| {
        eventually(why, || {
            let (status, body) = server.get("/readyz");
            status.contains("503") && body.contains(why)
        });
    };
    assert!(server.get("/healthz").0.contains("200"));
    not_ready("app_auth");
    postgres.migrate().await;
    postgres.fill().await;
    server.wait_until_ready();
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");

    // What an admin creates is no reason not to serve: the server gets ready again below.
    ask(&server.connect(ADMIN).await, "create table notes (line text)").await.unwrap();
    let superuser = postgres.superuser().await;
    superuser.batch_execute("alter role tier_premium bypassrls").await.unwrap();
    not_ready("`tier_premium` bypasses row security");
    let refused = server.config(PREMIUM, PASSWORD).connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "57P03");
    superuser
        .batch_execute("alter role tier_premium nobypassrls; grant pg_monitor to tier_free")
        .await
        .unwrap();
    not_ready("`tier_free` is a member of another role");
    superuser.batch_execute("revoke pg_monitor from tier_free").await.unwrap();
    server.wait_until_ready();
    let owner = postgres.owner().await;
    ask(&owner, "select private.set_identity_key(encode(sha256('other'), 'base64'))").await.unwrap();
    not_ready("IDENTITY_KEY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admins_temporary_table_does_not_stop_the_service() {
    let (postgres, server) = world().await;
    postgres.grant_temporary_tables().await;
    let admin = server.connect(ADMIN).await;
    admin.batch_execute("create temp table draft (line text)").await.unwrap();
    // One that has not looked at the roles before.
    let fresh = Server::start(&postgres);
    fresh.wait_until_ready();
    assert_eq!(value(&admin, "select count(*) from draft").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_do_more_than_its_tier_is_not_served() {
    let (postgres, server) = world().await;
    let superuser = postgres.superuser().await;
    superuser.batch_execute("create table public.loot (line text)").await.unwrap();
    for (more, less, why) in [
        ("alter role tier_free superuser", "alter role tier_free nosuperuser", "`tier_free` is a superuser"),
        (
            "alter role tier_premium createrole",
            "alter role tier_premium nocreaterole",
            "`tier_premium` may create roles",
        ),
        (
            "alter role tier_admin createdb",
            "alter role tier_admin nocreatedb",
            "`tier_admin` may create databases",
        ),
        (
            "alter role tier_admin replication",
            "alter role tier_admin noreplication",
            "`tier_admin` may replicate",
        ),
        (
            "alter role app_auth bypassrls",
            "alter role app_auth nobypassrls",
            "`app_auth` bypasses row security",
        ),
        (
            "alter table loot owner to tier_free",
            "alter table loot owner to postgres",
            "`tier_free` owns tables",
        ),
        (
            "alter function public.expire_subscriptions owner to tier_premium",
            "alter function public.expire_subscriptions owner to music_owner",
            "`tier_premium` owns functions",
        ),
        (
            "grant delete on content to tier_free",
            "revoke delete on content from tier_free",
            "`tier_free` may DELETE on public.content",
        ),
        (
            "grant select (tax_code) on app_user to tier_premium",
            "revoke select (tax_code) on app_user from tier_premium",
            "`tier_premium` may SELECT on public.app_user.tax_code",
        ),
        (
            "grant usage on schema private to tier_free; grant select on private.credential to tier_free",
            "revoke usage on schema private from tier_free; revoke select on private.credential from tier_free",
            "`tier_free` may SELECT on private.credential",
        ),
        (
            "grant create on schema public to tier_premium",
            "revoke create on schema public from tier_premium",
            "`tier_premium` may CREATE on schema public",
        ),
        (
            "grant temporary on database music to tier_free",
            "revoke temporary on database music from tier_free",
            "`tier_free` may TEMPORARY on this database",
        ),
        (
            "grant update on public.plan to tier_admin with grant option",
            "revoke grant option for update on public.plan from tier_admin",
            "`tier_admin` may UPDATE with grant option on public.plan",
        ),
        (
            "grant execute on function private.set_credential to app_auth",
            "revoke execute on function private.set_credential from app_auth",
            "`app_auth` may EXECUTE on private.set_credential(text, text)",
        ),
        (
            "grant execute on function pg_catalog.pg_read_file(text) to tier_premium",
            "revoke execute on function pg_catalog.pg_read_file(text) from tier_premium",
            "`tier_premium` may EXECUTE on pg_catalog.pg_read_file(text)",
        ),
        (
            "grant set on parameter session_replication_role to tier_premium",
            "revoke set on parameter session_replication_role from tier_premium",
            "`tier_premium` may SET on parameter session_replication_role",
        ),
        // A function is everybody's unless it says otherwise.
        (
            "create function public.anybody() returns int language sql as 'select 1'",
            "drop function public.anybody()",
            "`PUBLIC` may EXECUTE on public.anybody()",
        ),
        (
            "grant select on private.identity_key to public",
            "revoke select on private.identity_key from public",
            "`PUBLIC` may SELECT on private.identity_key",
        ),
        (
            "grant execute on function pg_catalog.pg_read_file(text) to public",
            "revoke execute on function pg_catalog.pg_read_file(text) from public",
            "`PUBLIC` may EXECUTE on pg_catalog.pg_read_file(text)",
        ),
        (
            "alter table payment disable row level security",
            "alter table payment enable row level security",
            "`tier_free` is not kept to its own rows of public.payment",
        ),
        (
            "alter policy own_rows on playlist with check (true)",
            "alter policy own_rows on playlist with check (owner_id = (select private.current_account()))",
            "is not kept to its own rows of public.playlist",
        ),
        (
            "create policy wide on playback to tier_premium using (true)",
            "drop policy wide on playback",
            "`tier_premium` sees rows of public.playback by a policy of its own",
        ),
        (
            "alter view playlist_summary set (security_invoker = false)",
            "alter view playlist_summary set (security_invoker = true)",
            "sees through public.playlist_summary what its owner sees",
        ),
    ] {
        superuser.batch_execute(more).await.unwrap();
        eventually(why, || server.get("/readyz").1.contains(why));
        let refused = server.config(FREE, PASSWORD).connect(tokio_postgres::NoTls).await.err().unwrap();
        assert_eq!(refused.code().unwrap().code(), "57P03", "{more}");
        superuser.batch_execute(less).await.unwrap();
        server.wait_until_ready();
    }
}

/// What a login would meet, `/readyz` meets; a pool that is in use is not a broken one.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_takes_a_session_out_of_each_pool() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("POOL_SIZE", "1"), ("QUEUE_TIMEOUT_S", "1")]);
    server.wait_until_ready();
    let superuser = postgres.superuser().await;
    let sessions = "select count(distinct usename) from pg_stat_activity where usename ~ '^tier_'";
    assert_eq!(value(&superuser, sessions).await, "3");
    for (less, more, why) in [
        ("alter role tier_premium nologin", "alter role tier_premium login", "`tier_premium` may not log in"),
        (
            "alter role tier_free connection limit 0; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tier_free'",
            "alter role tier_free connection limit -1",
            "too many connections for role",
        ),
    ] {
        superuser.batch_execute(less).await.unwrap();
        eventually(why, || server.get("/readyz").1.contains(why));
        superuser.batch_execute(more).await.unwrap();
        server.wait_until_ready();
    }
    let busy = server.connect(PREMIUM).await;
    ask(&busy, "begin; select 1").await.unwrap();
    let refused = server.config(PREMIUM, PASSWORD).connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "53300");
    assert!(server.get("/readyz").0.contains("200"));
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_record_is_not_ready() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let full = Server::start_with(&postgres, &[("AUDIT_FILE", "/dev/full")]);
    let why = "the audit trail cannot be written";
    eventually(why, || {
        let (status, body) = full.get("/readyz");
        status.contains("503") && body.contains(why)
    });
    let refused = full.config(PREMIUM, PASSWORD).connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "57P03");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn as_many_descriptors_as_the_system_allows_are_used() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let postgres = Postgres::start().await;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(256);
    setrlimit(Resource::Nofile, limit).unwrap();
    let server = Server::start(&postgres);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process_id())).unwrap();
    let files: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
    assert_ne!(files[3], "256");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_a_query_finish_and_ends_idle_sessions() {
    let (postgres, mut server) = world().await;
    let (busy, idle, in_transaction) =
        (server.connect(PREMIUM).await, server.connect(PREMIUM).await, server.connect(PREMIUM).await);
    ask(&in_transaction, "begin; select 1").await.unwrap();
    let query = tokio::spawn(async move { value(&busy, "select 'done' from pg_sleep(2)").await });
    let superuser = postgres.superuser().await;
    while value(&superuser, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'").await != "1"
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    signal(server.process_id(), "TERM");
    eventually("/readyz answers 503", || server.get("/readyz").0.contains("503"));
    eventually("the idle session has ended", || idle.is_closed());
    assert!(!in_transaction.is_closed(), "not in the middle of a transaction");
    ask(&in_transaction, "commit").await.unwrap();
    assert_eq!(query.await.unwrap(), "done");
    assert!(server.wait().success());
    eventually("the audit has the query that was let finish", || {
        let lines = server.lines();
        lines
            .iter()
            .any(|line| line["sql"] == "select 'done' from pg_sleep(2)" && line["outcome"] == "success")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_expires_but_never_in_a_transaction() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("IDLE_TIMEOUT_S", "1")]);
    server.wait_until_ready();
    let in_transaction = server.connect(PREMIUM).await;
    ask(&in_transaction, "begin; select 1").await.unwrap();
    let (idle, connection) = server.config(PREMIUM, PASSWORD).connect(tokio_postgres::NoTls).await.unwrap();
    let ended = connection.await.unwrap_err();
    assert_eq!(ended.code().unwrap().code(), "57P05");
    assert!(idle.is_closed());
    // COPY in the extended protocol has a Sync that is not answered: it must not count as work under way.
    let copying = server.connect(PREMIUM).await;
    let sink = copying.copy_in::<_, bytes::Bytes>("copy artist (name) from stdin").await.unwrap();
    futures_util::pin_mut!(sink);
    futures_util::SinkExt::send(&mut sink, bytes::Bytes::from("Somebody\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 1);
    assert_eq!(value(&copying, "select 'again'").await, "again");
    eventually("the session that copied has expired", || copying.is_closed());
    assert_eq!(value(&in_transaction, "select 'still here'").await, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restart_is_survived_in_session_mode() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("POOL_MODE", "session")]);
    server.wait_until_ready();
    let client = server.connect(FREE).await;
    let superuser = postgres.superuser().await;
    ask(&superuser, "select pg_terminate_backend(pid) from pg_stat_activity where usename is not null and pid <> pg_backend_pid()")
        .await
        .unwrap();
    eventually("the session has ended with its database session", || client.is_closed());
    assert_eq!(value(&server.connect(FREE).await, "select 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_reached_over_tls_and_its_certificate_is_checked() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let url = |host: &str, mode: &str| format!("postgres://{host}:{}/music?sslmode={mode}", postgres.port);
    let ca = postgres.ca_pem();
    let one_line_ca = ca.replace('\n', "\\n");
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    for (url, ca) in
        [(url("localhost", "verify-full"), one_line_ca.as_str()), (url("127.0.0.1", "require"), "")]
    {
        let server = Server::start_with(&postgres, &[("DATABASE_URL", &url), ("DATABASE_CA", ca)]);
        server.wait_until_ready();
        let client = server.connect(PREMIUM).await;
        assert_eq!(value(&client, encrypted).await, "t");
        // A cancel goes the same way.
        let cancel = client.cancel_token();
        let running = tokio::spawn(async move { ask(&client, "select pg_sleep(20)").await });
        while !running.is_finished() {
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(running.await.unwrap(), Err("57014".to_owned()));
    }
    // Another authority, and another name.
    let other = Postgres::start().await.ca_pem();
    for (url, ca) in
        [(url("localhost", "verify-full"), other.as_str()), (url("127.0.0.1", "verify-full"), ca.as_str())]
    {
        let server = Server::start_with(&postgres, &[("DATABASE_URL", &url), ("DATABASE_CA", ca)]);
        eventually("the certificate is refused", || server.get("/readyz").1.contains("certificate"));
    }
}

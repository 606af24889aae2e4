//! Each defence is needed: with it taken away, something in the corpus gets through. A defence that nothing depends on is none.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::corpus::{WEAK, World, attempt, difference, juno_at_work};
use crate::harness::{FREE, PREMIUM, ask};
use crate::raw::Raw;

/// A defence of the database, what takes it away, and the part of the corpus that then gains something.
struct Defence {
    name: &'static str,
    weaken: &'static str,
    gains: (&'static str, &'static str),
}

const fn defence(
    name: &'static str,
    weaken: &'static str,
    user: &'static str,
    place: &'static str,
) -> Defence {
    Defence { name, weaken, gains: (user, place) }
}

const STACKED: &str = "refused/stacked";
const PRIVATE: &str = "refused/private";
const ROWS: &str = "fruitless/other_peoples_rows";

const DEFENCES: &[Defence] = &[
    defence("only admins delete", "grant delete on content, playlist to tier_premium", PREMIUM, STACKED),
    defence("columns are granted one by one", "grant select on app_user to tier_free", FREE, PRIVATE),
    defence("a token pays", "grant select on payment_method to tier_premium", PREMIUM, PRIVATE),
    defence("accounts keep their type", "grant update (account_type) on app_user to tier_premium", PREMIUM, PRIVATE),
    defence("plays are counted, not written", "grant update (play_count) on content to tier_premium", PREMIUM, PRIVATE),
    defence("payments come from elsewhere", "grant insert on payment to tier_premium", PREMIUM, PRIVATE),
    defence(
        "no tier may enter `private`",
        "grant usage on schema private to tier_free; grant select on private.credential to tier_free",
        FREE,
        PRIVATE,
    ),
    defence(
        "private functions are not everybody's",
        "grant usage on schema private to tier_free; grant execute on all functions in schema private to tier_free",
        FREE,
        PRIVATE,
    ),
    defence("expiry is the administrators'", "grant execute on function expire_subscriptions to tier_premium", PREMIUM, PRIVATE),
    defence("no tables in `public`", "grant create on schema public to tier_premium", PREMIUM, STACKED),
    defence("no temporary tables", "grant temporary on database weak to tier_premium", PREMIUM, STACKED),
    defence(
        "sequences are the tables' own",
        "grant usage, update, select on all sequences in schema public to tier_premium",
        PREMIUM,
        PRIVATE,
    ),
    defence("rows of app_user", "alter table app_user disable row level security", FREE, ROWS),
    defence("rows of user_genre", "alter table user_genre disable row level security", FREE, ROWS),
    defence("rows of playlist", "alter table playlist disable row level security", FREE, ROWS),
    defence("rows of playlist_item", "alter table playlist_item disable row level security", PREMIUM, ROWS),
    defence("rows of playback", "alter table playback disable row level security", FREE, ROWS),
    defence("rows of subscription", "alter table subscription disable row level security", FREE, ROWS),
    defence("rows of payment_method", "alter table payment_method disable row level security", FREE, ROWS),
    defence("rows of payment", "alter table payment disable row level security", FREE, ROWS),
    defence(
        "what is written is checked too",
        "alter policy own_rows on playlist with check (true)",
        PREMIUM,
        "refused/other_peoples_rows",
    ),
    defence(
        "a view asks with the rights of who asks",
        "alter view playlist_summary set (security_invoker = false)",
        PREMIUM,
        ROWS,
    ),
    defence(
        "an identity is signed",
        "create or replace function private.current_account() returns bigint language sql stable security definer
         as $$ select nullif(split_part(current_setting('app.identity', true), ':', 1), '')::bigint $$",
        PREMIUM,
        "fruitless/forged_identities",
    ),
    defence(
        "an identity is one session's",
        "create or replace function private.current_account() returns bigint language plpgsql stable security definer as $$
         declare
             identity text := coalesce(current_setting('app.identity', true), '');
             account text := split_part(identity, ':', 1);
             signed bigint;
         begin
             if identity !~ '^[0-9]{1,18}:[0-9a-f]{64}$' then
                 return null;
             end if;
             select account into signed from private.identity_key k, pg_stat_get_activity(null) a
             where private.hmac_sha256(k.key, convert_to(format('identity:%s:%s:%s', account, a.pid,
                       (extract(epoch from a.backend_start) * 1000000)::bigint), 'UTF8'))
                 = decode(split_part(identity, ':', 2), 'hex');
             return signed;
         end $$",
        PREMIUM,
        "fruitless/forged_identities",
    ),
];

/// Past the server: a session of the tier's role itself, which nothing keeps read-only.
fn past_the_server(world: &World, database: &str, role: &str) -> Raw {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, world.postgres.port));
    Raw::log_in(address, database, role, &format!("{role} password"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_defence_of_the_database_is_needed() {
    let world = World::new().await;
    let mut needless = Vec::new();
    for Defence { name, weaken, gains: (user, place) } in DEFENCES {
        world.copy_as_weak(weaken).await;
        let server = world.serve(WEAK);
        let (_juno, identity) = juno_at_work(&server);
        let before = world.state();
        let (gained, _) = attempt(&world, &[place], user, &identity, || Raw::connect(&server, user));
        if gained.is_empty() && difference(&before, &world.state()).is_empty() {
            needless.push(format!("nothing in {place} depends on this: {name}"));
        }
    }
    assert_eq!(needless, Vec::<String>::new());
    // What a free session may not write because it is read-only has no grant either.
    world.copy_as_weak("grant insert on artist to tier_free").await;
    let before = world.state();
    attempt(&world, &["refused_free"], FREE, "", || past_the_server(&world, WEAK, "tier_free"));
    assert!(!difference(&before, &world.state()).is_empty());
}

/// The same roles and the same grants, without the server in between.
#[tokio::test(flavor = "multi_thread")]
async fn grants_keep_the_data_and_the_server_what_people_share() {
    let world = World::new().await;
    let server = world.serve("music");
    let (_juno, identity) = juno_at_work(&server);
    let owner = world.postgres.owner().await;
    let before = world.state();
    attempt(&world, &["refused_free"], FREE, "", || past_the_server(&world, "music", "tier_free"));
    assert_eq!(difference(&before, &world.state()), Vec::<String>::new());
    for (user, role) in [(FREE, "tier_free"), (PREMIUM, "tier_premium")] {
        let connect = || {
            // An attempt may just have changed the password of the role.
            let restore = format!("select private.restore_tier_login('{role}')");
            block_in_place(|| Handle::current().block_on(ask(&owner, &restore))).unwrap();
            past_the_server(&world, "music", role)
        };
        let (gained, _) = attempt(&world, &["refused"], user, &identity, connect);
        for file in ["large_objects", "other_sessions", "roles", "text_as_statement", "lexer"] {
            assert!(gained.iter().any(|gain| gain.contains(file)), "{role}: {file}");
        }
    }
    // What got through is stored for everybody: settings of the roles, large objects. No row of a table is among it.
    let changed = difference(&before, &world.state());
    assert!(changed.iter().any(|line| line.starts_with("+ ALTER ROLE")), "{changed:#?}");
    let rows = changed.iter().filter(|line| line.contains('\t'));
    assert_eq!(rows.collect::<Vec<_>>(), Vec::<&String>::new());
}

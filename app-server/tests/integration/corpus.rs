//! The corpus of `tests/corpus`: what must be refused, what must gain nothing and what must be allowed, sent through the port as free and
//! premium. `defences` shows that it finds what is open.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use crate::harness::{ADMIN, FREE, OTHER_PREMIUM, PREMIUM, Postgres, Server, eventually, value};
use crate::raw::Raw;

/// What only other people's rows, statements and secrets hold.
const MARKS: [&str; 6] = ["canary", "777777", "1977-07-07", "SCRAM-SHA-256$", "root:x:0", "a2tra2tra2"];
const OTHERS_STATEMENT: &str = "select pg_sleep(600), 'canary'";

/// Characters that an editor would not show.
const CHARACTERS: [(&str, &str); 6] = [
    ("{cr}", "\r"),
    ("{ff}", "\u{c}"),
    ("{nbsp}", "\u{a0}"),
    ("{bom}", "\u{feff}"),
    ("{nel}", "\u{85}"),
    ("{ls}", "\u{2028}"),
];

/// The database whose defences are taken away.
pub(crate) const WEAK: &str = "weak";

pub(crate) struct Case {
    file: PathBuf,
    steps: Vec<String>,
}

/// The cases of a folder, in the order of its files, or of one file, named without its ending.
pub(crate) fn cases(place: &str) -> Vec<Case> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(place);
    let mut files = if place.is_dir() {
        fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
    } else {
        vec![place.with_extension("sql")]
    };
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for paragraph in text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')) {
            if paragraph.lines().all(|line| line.starts_with("--")) {
                continue;
            }
            let steps = paragraph.split("\n-- then\n").map(str::to_owned).collect();
            cases.push(Case { file: file.clone(), steps });
        }
    }
    cases
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Simple,
    Extended,
    /// After `begin read write`, which a free session may say.
    ReadWrite,
}

/// Database and server, and another premium person whose rows and statements are marked.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    places: Vec<(&'static str, String)>,
    account: [(&'static str, String); 2],
}

impl World {
    pub(crate) async fn new() -> Self {
        let postgres = Postgres::start().await;
        postgres.migrate().await;
        postgres.fill().await;
        let superuser = postgres.superuser().await;
        superuser
            .batch_execute(
                "create temp table juno as select user_id from app_user where email = 'juno@example.com';
                 alter table content disable trigger all;
                 update app_user set first_name = 'canary', phone = '7777777777' where user_id = (table juno) or account_type = 'admin';
                 update playlist set name = 'canary ' || name where owner_id = (table juno);
                 update playlist_item set position = position + 777777
                 where playlist_id in (select playlist_id from playlist where owner_id = (table juno));
                 insert into playback (user_id, content_id, played_at) values ((table juno), 1, '1977-07-07');
                 update subscription set started_at = '1977-07-07' where user_id = (table juno);
                 update payment set amount_cents = 777777
                 where subscription_id in (select subscription_id from subscription where user_id = (table juno));
                 update payment_method set brand = 'canary', provider_token = 'tok_canary' where user_id = (table juno);
                 alter table content enable trigger all;",
            )
            .await
            .unwrap();
        let id = async |email: &str| {
            value(&superuser, &format!("select user_id from app_user where email = '{email}'")).await
        };
        let juno = id(OTHER_PREMIUM).await;
        let of_juno = async |column: &str, table: &str, owner: &str| {
            value(&superuser, &format!("select min({column}) from {table} where {owner} = {juno}")).await
        };
        let list = of_juno("playlist_id", "playlist", "owner_id").await;
        let method = of_juno("method_id", "payment_method", "user_id").await;
        let places = vec![
            ("{juno_list}", list),
            ("{juno_payment_method}", method),
            ("{admin}", id(ADMIN).await),
            ("{juno}", juno),
        ];
        let account = [(FREE, id(FREE).await), (PREMIUM, id(PREMIUM).await)];
        Self { postgres, places, account }
    }

    /// Serves a database of the cluster, to people who may ask as much as they like.
    pub(crate) fn serve(&self, database: &str) -> Server {
        let url = format!("postgres://127.0.0.1:{}/{database}", self.postgres.port);
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("FREE_STATEMENTS_PER_S", "1000000"),
            ("PREMIUM_STATEMENTS_PER_S", "1000000"),
            // Juno's statement goes on all the time.
            ("PREMIUM_STATEMENT_TIMEOUT_S", "900"),
        ];
        let server = Server::start_with(&self.postgres, &variables);
        server.wait_until_ready();
        server
    }

    /// Makes a copy of the database, in the place of the last one, and changes it. Nobody may be connected to either meanwhile.
    pub(crate) async fn copy_as_weak(&self, weaken: &str) {
        let superuser = self.postgres.try_connect("postgres", "postgres").await.unwrap();
        let disconnect = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
            where datname in ('music', 'weak') and pid <> pg_backend_pid()";
        for statement in [disconnect, "drop database if exists weak", "create database weak template music"] {
            superuser.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        let inside = self.postgres.try_connect("postgres", WEAK).await.unwrap();
        // What a copy does not take along: it belongs to the database, not to what is in it. And the server must not find out.
        let own = "revoke all on database weak from public;
            grant connect on database weak to tier_free, tier_premium, tier_admin, app_auth;
            create or replace function private.undeclared_grants() returns table (role_name text, excess text)
            language sql stable security definer as $$ select null, null where false $$;";
        inside
            .batch_execute(&format!("{own}{weaken}"))
            .await
            .unwrap_or_else(|error| panic!("{weaken}: {error:?}"));
    }

    fn fill_in(&self, step: &str, user: &str, juno_identity: &str) -> String {
        let own = &self.account.iter().find(|(email, _)| *email == user).unwrap().1;
        let text = step.replace("{own}", own).replace("{juno_identity}", juno_identity);
        let places = self.places.iter().map(|(place, value)| (*place, value.as_str())).chain(CHARACTERS);
        places.fold(text, |text, (place, value)| text.replace(place, value))
    }

    /// All that the cluster holds. A refused insert may have taken a number of a sequence.
    pub(crate) fn state(&self) -> Vec<String> {
        self.postgres.dump().lines().filter(|line| !line.contains("setval")).map(str::to_owned).collect()
    }

    fn marks_of_juno(&self) -> String {
        let juno = &self.places.iter().find(|(place, _)| *place == "{juno}").unwrap().1;
        format!("seen:{juno}")
    }
}

/// What came back: whether the last message was refused, and all that was said.
pub(crate) struct Outcome {
    refused: bool,
    said: String,
}

/// How a case is sent: by whom, and to where.
pub(crate) struct Sender<'a> {
    connect: Box<dyn Fn() -> Raw + 'a>,
    raw: Raw,
}

impl<'a> Sender<'a> {
    fn new(connect: impl Fn() -> Raw + 'a) -> Self {
        let raw = connect();
        Self { connect: Box::new(connect), raw }
    }

    /// Sends the steps one after the other, and leaves a session for the next case as if it were new.
    fn send(&mut self, steps: &[String], mode: Mode) -> Outcome {
        let mut outcome = Outcome { refused: false, said: String::new() };
        let mut said_by = |raw: &mut Raw, out: &[u8]| -> Option<bool> {
            let (kinds, bodies) = raw.exchange(out)?;
            outcome.said.push_str(&bodies);
            Some(kinds.contains('E'))
        };
        let mut alive = true;
        if mode == Mode::ReadWrite {
            alive = said_by(&mut self.raw, &simple("begin read write")).is_some();
        }
        let mut refused = true;
        for step in steps {
            let message = if mode == Mode::Extended { extended(step) } else { simple(step) };
            let answered = if alive { said_by(&mut self.raw, &message) } else { None };
            alive = answered.is_some();
            // A session that was ended has refused.
            refused = answered.unwrap_or(true);
        }
        if alive && mode == Mode::ReadWrite {
            alive = said_by(&mut self.raw, &simple("commit")).is_some();
        }
        outcome.refused = refused;
        let reset = ["rollback", "discard all"];
        if !(alive && reset.iter().all(|sql| self.raw.exchange(&simple(sql)).is_some())) {
            self.raw = (self.connect)();
        }
        outcome
    }
}

fn simple(sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::query(sql, &mut out).unwrap();
    out
}

fn extended(sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::parse("", sql, [], &mut out).unwrap();
    let nothing = [""; 0];
    let bound = frontend::bind("", "", [], nothing, |_, _| Ok(postgres_protocol::IsNull::No), [], &mut out);
    assert!(bound.is_ok());
    frontend::execute("", 0, &mut out).unwrap();
    frontend::sync(&mut out);
    out
}

/// Which folders are for whom.
pub(crate) const GUESTS: [(&str, &[&str]); 2] =
    [(FREE, &["refused", "refused_free", "fruitless"]), (PREMIUM, &["refused", "fruitless"])];

const MODES: [Mode; 3] = [Mode::Simple, Mode::Extended, Mode::ReadWrite];

/// Tries each case of some folders in each mode, and answers what should not have happened, and how many were tried.
pub(crate) fn attempt(
    world: &World,
    places: &[&str],
    user: &'static str,
    juno_identity: &str,
    connect: impl Fn() -> Raw,
) -> (Vec<String>, usize) {
    let mut gained = Vec::new();
    let mut tried = 0;
    let mut sender = Sender::new(connect);
    let seen = world.marks_of_juno();
    for place in places {
        for case in cases(place) {
            let steps: Vec<_> =
                case.steps.iter().map(|step| world.fill_in(step, user, juno_identity)).collect();
            for mode in MODES {
                let outcome = sender.send(&steps, mode);
                tried += 1;
                let what = format!("{user} {mode:?} {}: {}", case.file.display(), steps.join(" -- then "));
                if place.starts_with("refused") && !outcome.refused {
                    gained.push(format!("not refused: {what}"));
                }
                if let Some(mark) =
                    MARKS.iter().copied().chain([seen.as_str()]).find(|mark| outcome.said.contains(*mark))
                {
                    gained.push(format!("saw {mark}: {what}"));
                }
            }
        }
    }
    (gained, tried)
}

/// Juno's session, in the middle of a statement, and its identity.
pub(crate) fn juno_at_work(server: &Server) -> (Raw, String) {
    let mut juno = Raw::connect(server, OTHER_PREMIUM);
    let said = juno.query("select 'is ' || current_setting('app.identity') || '.'").1;
    let identity = said.split("is ").nth(1).unwrap().split('.').next().unwrap().to_owned();
    juno.send(&simple(OTHERS_STATEMENT));
    (juno, identity)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_of_a_guest_gains_anything() {
    let world = World::new().await;
    let server = world.serve("music");
    let (juno, identity) = juno_at_work(&server);
    let before = world.state();
    let mut tried = 0;
    for (user, folders) in GUESTS {
        let (gained, count) = attempt(&world, folders, user, &identity, || Raw::connect(&server, user));
        assert!(gained.is_empty(), "{} of {count}:\n{}", gained.len(), gained.join("\n"));
        tried += count;
        let changed: Vec<_> = difference(&before, &world.state());
        assert!(changed.is_empty(), "{user} has changed: {changed:#?}");
    }
    assert!(tried >= 300, "{tried} attempts");
    // Nobody has stopped Juno, and what the database still holds of others is nothing.
    juno.stream.set_nonblocking(true).unwrap();
    assert_eq!(juno.stream.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let superuser = world.postgres.superuser().await;
    assert_eq!(value(&superuser, "select count(*) from pg_locks where locktype = 'advisory'").await, "0");
    assert_eq!(value(&server.connect(PREMIUM).await, "select count(*) from playlist").await, "4");
    let denied =
        |sql: &str| server.lines().iter().any(|record| record["outcome"] == "denied" && record["sql"] == sql);
    eventually("the audit has the attempts", || {
        denied("select 1; delete from content") && denied("alter role tier_premium password 'stolen'")
    });
}

/// Lines that one of two states has and the other has not.
pub(crate) fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    gone.chain(after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_function_is_called_without_a_statement() {
    let world = World::new().await;
    let server = world.serve("music");
    let superuser = world.postgres.superuser().await;
    let before = world.state();
    for user in [FREE, PREMIUM, ADMIN] {
        let mut raw = Raw::connect(&server, user);
        for function in [
            "lo_create(oid)",
            "lo_creat(int)",
            "lo_from_bytea(oid, bytea)",
            "lo_unlink(oid)",
            "pg_terminate_backend(int, bigint)",
            "pg_cancel_backend(int)",
            "set_config(text, text, bool)",
            "pg_read_file(text)",
            "pg_advisory_lock(bigint)",
            "pg_notify(text, text)",
            "public.record_play(bigint)",
            "private.set_identity_key(text)",
            "public.expire_subscriptions(timestamptz)",
        ] {
            let oid: u32 =
                value(&superuser, &format!("select '{function}'::regprocedure::oid")).await.parse().unwrap();
            // One argument of four bytes, in binary.
            let mut frame = b"F\0\0\0\x18".to_vec();
            frame.extend_from_slice(&oid.to_be_bytes());
            frame.extend_from_slice(&[0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0, 1]);
            let (kinds, bodies) = raw.exchange(&frame).unwrap();
            assert_eq!(kinds, "EZ", "{user}: {function}");
            assert!(bodies.contains("0A000"), "{user}: {function}: {bodies}");
        }
    }
    assert_eq!(difference(&before, &world.state()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_honest_people_say_is_allowed() {
    let world = World::new().await;
    let server = world.serve("music");
    let (mut allowed, mut refused) = (0, Vec::new());
    for (user, folders) in [(FREE, &["allowed"][..]), (PREMIUM, &["allowed", "allowed_premium"])] {
        let mut sender = Sender::new(|| Raw::connect(&server, user));
        for case in folders.iter().flat_map(|folder| cases(folder)) {
            let steps: Vec<_> = case.steps.iter().map(|step| world.fill_in(step, user, "")).collect();
            for mode in [Mode::Simple, Mode::Extended] {
                // The extended protocol takes one statement at a time.
                if mode == Mode::Extended
                    && steps.iter().any(|step| step.trim_end_matches(';').contains("; "))
                {
                    continue;
                }
                let outcome = sender.send(&steps, mode);
                if outcome.refused {
                    refused.push(format!("{user} {mode:?}: {}: {}", steps.join(" -- then "), outcome.said));
                }
                allowed += 1;
            }
        }
    }
    assert!(refused.is_empty(), "{} of {allowed}:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn the_corpus_is_as_large_as_promised() {
    assert!(cases("refused").len() + cases("refused_free").len() >= 300);
    assert!(
        cases("fruitless").len()
            + cases("refused").iter().filter(|case| case.file.ends_with("other_peoples_rows.sql")).count()
            >= 40
    );
    assert!(cases("allowed").len() >= 100);
}

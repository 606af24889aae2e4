//! What `\d` and its family say of a catalog, beside psql.

use std::fs;

use crate::harness::Server;
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

const SCHEMA: &str = r#"
    create role anna login connection limit 1 valid until '2030-01-01';
    create role "Team" noinherit bypassrls;
    grant "Team" to anna;
    create database other;
    revoke connect on database other from public;
    create schema shop;
    create table shop."Order Items" (
        id bigint generated always as identity primary key, "Qty" int not null check ("Qty" > 0),
        price numeric(10, 2) default 1.50, total numeric generated always as (price * 2) stored,
        note text collate "C", unique (note, price));
    create table shop.measurement (day date not null, place text default 'it''s', value float8) partition by range (day);
    create table shop.measurement_2025 partition of shop.measurement for values from ('2025-01-01') to ('2026-01-01');
    create table shop.measurement_rest partition of shop.measurement default;
    create index on shop.measurement (place, day);
    create view shop.recent as select * from shop.measurement where day > '2025-06-01';
    create materialized view shop.sums as select place, sum(value) from shop.measurement group by 1;
    create sequence shop.counter increment 5 cycle maxvalue 100;
    create type shop.pair as (a int, b text);
    create function shop.many(a int, b text default 'x', out c text, variadic rest numeric[] default '{}')
        language sql as $$ select 'y' $$;
    create function shop.rows_of(a int) returns table (x int, y text) language sql as $$ select 1, 'y' $$;
    create procedure shop.act(inout x int) language plpgsql as 'begin x := 1; end';
    create aggregate shop.total(int) (sfunc = int4pl, stype = int);
    create function shop.trig() returns trigger language plpgsql as 'begin return new; end';
    create table shop.child (
        item bigint constraint "Item of" references shop."Order Items" on delete cascade,
        constraint positive check (item > 0));
    create table shop.grandchild () inherits (shop.child);
    alter table shop.child enable row level security;
    create policy mine on shop.child for select to anna using (item = 1);
    create trigger stamp before insert or update on shop.child for each row execute function shop.trig();
    create unique index child_large on shop.child (item) where item > 5;
    comment on table shop.child is 'children';
    comment on column shop.child.item is 'what was bought';
    comment on schema shop is 'what is sold';
    comment on role anna is 'a person';
    grant usage on schema shop to anna;
    grant select on shop.child to anna;
    grant update (item) on shop.child to "Team";
    create policy theirs on shop.child as restrictive for all using (item > 1) with check (item > 2);
    grant execute on function shop.rows_of to anna;
    comment on function shop.rows_of is 'two of them';
    create type shop.mood as enum ('sad', 'happy');
    comment on type shop.mood is 'how it goes';
    create domain shop.price as numeric(10, 2) not null default 1 check (value > 0) check (value < 1000);
    create domain shop.word as text collate "C";
    create table public."Mixed" (a int);
    create table public.song (a int);
    create function public.of_song(song) returns int language sql as 'select 1';
"#;

/// What the commands print at the prompt, as CSV: the prompt writes it into files.
fn printed(server: &Server, commands: &[&str]) -> Vec<String> {
    let mut terminal: Terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal.keys("\\format csv\r");
    for (number, command) in commands.iter().enumerate() {
        terminal.shows(PROMPT);
        terminal.keys(&format!("\\o {number}.csv\r"));
        terminal.shows("results go to");
        terminal.shows(PROMPT);
        terminal.keys(&format!("{command}\r"));
    }
    terminal.shows(PROMPT);
    terminal.keys("\\q\r");
    terminal.ends(0);
    let file = |number: usize| server.folder().join(format!("{number}.csv"));
    (0..commands.len()).map(|number| fs::read_to_string(file(number)).expect("it was written")).collect()
}

fn psql(server: &Server, arguments: &[&str]) -> String {
    String::from_utf8(server.psql(arguments)).expect("psql prints UTF-8")
}

/// The records of a CSV text.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![vec![String::new()]];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let doubled = quoted && character == '"' && characters.next_if_eq(&'"').is_some();
        let record = records.last_mut().expect("there is always one");
        match character {
            '"' if doubled => record.last_mut().expect("a record has a cell").push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(String::new()),
            '\n' if !quoted => records.push(vec![String::new()]),
            other => record.last_mut().expect("a record has a cell").push(other),
        }
    }
    records.pop();
    records
}

/// The records, without the columns that `of` does not have.
fn reduced(records: &[Vec<String>], of: &[String]) -> Vec<Vec<String>> {
    let place = |name: &String| {
        records[0].iter().position(|other| other == name).unwrap_or_else(|| panic!("psql has no `{name}`"))
    };
    let places: Vec<usize> = of.iter().map(place).collect();
    records.iter().map(|record| places.iter().map(|place| record[*place].clone()).collect()).collect()
}

#[test]
fn lists_of_relations_functions_roles_and_databases_are_psqls() {
    let server = Server::start();
    server.psql(&["-qc", "create database unrelated", "-c", "drop database unrelated"]);
    let schema = server.file("schema.sql", SCHEMA);
    server.psql(&["-q", "-v", "ON_ERROR_STOP=1", "-f", schema.to_str().expect("UTF-8")]);
    let commands = [
        "\\d",
        "\\dt",
        "\\dt shop.*",
        "\\dt *.so*",
        "\\dt Mixed",
        "\\dt \"Mixed\"",
        "\\dt shop.\"Order Items\"",
        "\\dt shop.measure????_2025",
        "\\dt+ shop.child",
        "\\dt pg_catalog.pg_class",
        "\\dv shop.*",
        "\\dm shop.*",
        "\\di shop.*",
        "\\di",
        "\\ds shop.*",
        "\\df",
        "\\df shop.*",
        "\\df shop.m*",
        "\\df abs",
        "\\dn",
        "\\dn sh*",
        "\\dn pg_catalog",
        "\\du",
        "\\du \"Team\"",
        "\\l",
        "\\dtS pg_am",
        "\\diS",
        "\\dnS",
        "\\duS+",
        "\\df+ shop.*",
        "\\dn+",
        "\\du+",
        "\\dg Team",
        "\\dp",
        "\\dp shop.*",
        "\\z song",
        "\\dx",
        "\\db",
        "\\dT shop.*",
        "\\dT+ shop.*",
        "\\dTS",
        "\\dD shop.*",
        "\\l other",
        "\\l+",
    ];
    for (command, ours) in commands.into_iter().zip(printed(&server, &commands)) {
        let ours = records(&ours);
        let theirs = psql(&server, &["--csv", "-c", command]);
        let theirs = records(&theirs);
        match ours.as_slice() {
            // psql says in a sentence that it found none.
            [_] => assert!(theirs.is_empty() || theirs.len() == 1, "{command}: {theirs:?}"),
            _ => assert_eq!(ours, reduced(&theirs, &ours[0]), "{command}"),
        }
    }
}

#[test]
fn the_description_of_a_relation_has_what_psqls_has() {
    let server = Server::start();
    let schema = server.file("schema.sql", SCHEMA);
    server.psql(&["-q", "-v", "ON_ERROR_STOP=1", "-f", schema.to_str().expect("UTF-8")]);
    let commands = [
        "\\d shop.\"Order Items\"",
        "\\d shop.child",
        "\\d+ shop.child",
        "\\d shop.grandchild",
        "\\d shop.measurement",
        "\\d+ shop.measurement",
        "\\d shop.measurement_2025",
        "\\d+ shop.recent",
        "\\d shop.sums",
        "\\d shop.counter",
        "\\d shop.\"Order Items_id_seq\"",
        "\\d shop.\"Order Items_pkey\"",
        "\\d shop.child_large",
        "\\d shop.pair",
        "\\d song",
        "\\d SONG",
    ];
    for (command, ours) in commands.into_iter().zip(printed(&server, &commands)) {
        let ours = records(&ours);
        let hanging = ours.iter().position(|record| record.first().is_some_and(|cell| cell == "Kind"));
        let (columns, hanging) = ours.split_at(hanging.unwrap_or(ours.len()));
        let theirs = psql(&server, &["--csv", "-c", command]);
        assert_eq!(columns, reduced(&records(&theirs), &columns[0]), "{command}");

        let whole = psql(&server, &["-A", "-c", command]);
        let flat = flat(&whole);
        let mut items = 0;
        for row in hanging.iter().skip(1) {
            let [kind, name, definition] = row.as_slice() else { panic!("{command}: {row:?}") };
            let expected = match kind.as_str() {
                "primary key" => format!("\"{name}\" PRIMARY KEY, {definition}"),
                "unique constraint" => format!("\"{name}\" UNIQUE CONSTRAINT, {definition}"),
                "unique index" => format!("\"{name}\" UNIQUE, {definition}"),
                "index" | "check" | "foreign key" => format!("\"{name}\" {definition}"),
                "referenced by" => format!("TABLE \"{name}\" {definition}"),
                "row security" => "Policies:".to_owned(),
                "policy" => format!("POLICY \"{name}\" {definition}"),
                "trigger" => format!("{name} {definition}"),
                "partition key" => format!("Partition key: {definition}"),
                "partition of" => format!("Partition of: {name} {definition}"),
                "partitions" => format!("Number of partitions: {name}"),
                "partition" => format!("{name} {definition}"),
                "inherits" => format!("Inherits: {name}"),
                "index of" => {
                    // psql names the table in between.
                    let (what, predicate) = definition.split_once(", predicate").unwrap_or((definition, ""));
                    format!(
                        "{what}, for table \"{}\"{}{predicate}",
                        name.replace('"', ""),
                        match predicate {
                            "" => "",
                            _ => ", predicate",
                        }
                    )
                }
                "owned by" => format!("{name}.{definition}"),
                "view definition" => definition.clone(),
                other => panic!("{command}: what is `{other}`?"),
            };
            let expected = self::flat(&expected);
            assert!(flat.contains(&expected), "{command}: expected {expected:?} in {flat:?}");
            items += usize::from(matches!(
                kind.as_str(),
                "primary key" | "unique constraint" | "unique index" | "index" | "check" | "foreign key"
            ));
        }
        // psql indents what hangs on a table.
        let listed = whole.lines().filter(|line| line.starts_with("    \"")).count();
        assert_eq!(items, listed, "{command}: {whole}");
    }
}

/// One space for any number of them, and of line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_text_of_a_function_is_psqls() {
    let server = Server::start();
    let schema = server.file("schema.sql", SCHEMA);
    server.psql(&["-q", "-v", "ON_ERROR_STOP=1", "-f", schema.to_str().expect("UTF-8")]);
    let commands = ["\\sf shop.many", "\\sf shop.rows_of(int)", "\\sf shop.act", "\\sf public.of_song"];
    for (command, ours) in commands.into_iter().zip(printed(&server, &commands)) {
        assert_eq!(ours, psql(&server, &["-c", command]), "{command}");
    }
    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal.keys("\\sf\r");
    terminal.shows("such as `\\sf lower(text)`");
    terminal.keys("\\sf nothing\r");
    terminal.shows("(42883)");
}

#[test]
fn a_relation_that_is_not_there_is_said_to_be_missing() {
    let server = Server::start();
    server.psql(&["-qc", "create table \"Mixed\" (a int)"]);
    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal.keys("\\d nowhere\r");
    terminal.shows("there is no relation called `nowhere` that you can see");
    terminal.shows("hint: \\d lists what there is");
    terminal.keys("\\d Mixed\r");
    terminal.shows("hint: without quotes a name is in lower case; try \\d \"Mixed\"");
    terminal.keys("\\d \"Mixed\"\r");
    terminal.shows("Table \"public.Mixed\"\r\n");
    terminal.shows(" a      | integer |");
}

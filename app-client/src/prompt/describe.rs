//! The `\d` family: questions to the catalog, with the columns that psql shows.

mod pattern;
mod relation;

use std::time::Instant;

use super::Session;
use crate::connection::{Answer, Connection};
use crate::error::Error;
use crate::output::Column;
use pattern::Pattern;
use relation::Relation;

/// Of the relations that `\dt`, `\di` and the like list; psql's words.
pub(super) const KIND: &str = "case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' \
    when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index' \
    when 'I' then 'partitioned index' when 'S' then 'sequence' when 'f' then 'foreign table' \
    when 'c' then 'composite type' when 't' then 'TOAST table' end";

/// The statement that answers `\` + `command` + `pattern`; none if it is not a list that there is.
pub(super) fn list(command: &str, pattern: &str) -> Option<String> {
    let pattern = Pattern::parse(pattern);
    let (command, more) = match command.strip_suffix('+') {
        Some(command) => (command, true),
        None => (command, false),
    };
    Some(match (command, more) {
        ("d", _) => relations("'r', 'p', 'v', 'm', 'S', 'f'", &pattern, more),
        ("dt", _) => relations("'r', 'p'", &pattern, more),
        ("dv", _) => relations("'v'", &pattern, more),
        ("dm", _) => relations("'m'", &pattern, more),
        ("di", _) => relations("'i', 'I'", &pattern, more),
        ("ds", _) => relations("'S'", &pattern, more),
        ("df", false) => functions(&pattern),
        ("dn", false) => format!(
            "select n.nspname as \"Name\", pg_catalog.pg_get_userbyid(n.nspowner) as \"Owner\" \
             from pg_catalog.pg_namespace n where {} order by 1",
            pattern.names("n.nspname", "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'")
        ),
        ("du", false) => roles(&pattern),
        ("l", _) => databases(&pattern, more),
        _ => return None,
    })
}

fn relations(kinds: &str, pattern: &Pattern, more: bool) -> String {
    let (table, join) = match kinds.contains("'i'") {
        true => (", t.relname as \"Table\"", index_of("t")),
        false => ("", String::new()),
    };
    let more = match more {
        true => {
            ", pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(c.oid)) as \"Size\", \
             pg_catalog.obj_description(c.oid, 'pg_class') as \"Description\""
        }
        false => "",
    };
    format!(
        "select n.nspname as \"Schema\", c.relname as \"Name\", {KIND} as \"Type\", \
         pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\"{table}{more} \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace{join} \
         where c.relkind in ({kinds}) and {} order by 1, 2",
        pattern.objects("c.relname", "pg_catalog.pg_table_is_visible(c.oid)")
    )
}

/// The table that an index `c` is of.
fn index_of(table: &str) -> String {
    format!(
        " left join pg_catalog.pg_index i on i.indexrelid = c.oid left join pg_catalog.pg_class {table} on {table}.oid = i.indrelid"
    )
}

fn functions(pattern: &Pattern) -> String {
    format!(
        "select n.nspname as \"Schema\", p.proname as \"Name\", \
         pg_catalog.pg_get_function_result(p.oid) as \"Result data type\", \
         pg_catalog.pg_get_function_arguments(p.oid) as \"Argument data types\", \
         case p.prokind when 'a' then 'agg' when 'w' then 'window' when 'p' then 'proc' else 'func' end as \"Type\" \
         from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
         where {} order by 1, 2, 4",
        pattern.objects("p.proname", "pg_catalog.pg_function_is_visible(p.oid)")
    )
}

fn roles(pattern: &Pattern) -> String {
    format!(
        "select r.rolname as \"Role name\", concat_ws(E'\\n', nullif(concat_ws(', ', \
         case when r.rolsuper then 'Superuser' end, case when not r.rolinherit then 'No inheritance' end, \
         case when r.rolcreaterole then 'Create role' end, case when r.rolcreatedb then 'Create DB' end, \
         case when not r.rolcanlogin then 'Cannot login' end, case when r.rolreplication then 'Replication' end, \
         case when r.rolbypassrls then 'Bypass RLS' end), ''), \
         case when r.rolconnlimit = 0 then 'No connections' when r.rolconnlimit = 1 then '1 connection' \
         when r.rolconnlimit > 1 then r.rolconnlimit || ' connections' end, \
         'Password valid until ' || r.rolvaliduntil) as \"Attributes\", \
         array(select b.rolname from pg_catalog.pg_auth_members m \
         join pg_catalog.pg_roles b on b.oid = m.roleid where m.member = r.oid order by 1) as \"Member of\" \
         from pg_catalog.pg_roles r where {} order by 1",
        pattern.names("r.rolname", "r.rolname !~ '^pg_'")
    )
}

fn databases(pattern: &Pattern, more: bool) -> String {
    let more = match more {
        true => {
            ", case when pg_catalog.has_database_privilege(d.datname, 'connect') \
             then pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(d.datname)) else 'No Access' end as \"Size\""
        }
        false => "",
    };
    format!(
        "select d.datname as \"Name\", pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\", \
         pg_catalog.pg_encoding_to_char(d.encoding) as \"Encoding\", d.datcollate as \"Collate\", \
         d.datctype as \"Ctype\", pg_catalog.array_to_string(d.datacl, E'\\n') as \"Access privileges\"{more} \
         from pg_catalog.pg_database d where {} order by 1",
        pattern.names("d.datname", "true")
    )
}

impl Session {
    /// `\d NAME`: columns of what is called so, and what hangs on it.
    pub(super) fn describe(&mut self, name: &str, more: bool) -> Result<(), Error> {
        if !self.is_ready(&format!("\\d {name}")) {
            return Ok(());
        }
        let started = Instant::now();
        let Some(rows) = self.catalog_rows(&Relation::matching(&Pattern::parse(name)))? else {
            return Ok(());
        };
        let relations: Vec<Relation> = rows.into_iter().filter_map(Relation::read).collect();
        if relations.is_empty() {
            eprintln!("error: there is no relation called `{name}` that you can see");
            match name.contains('"') || name == name.to_lowercase() {
                true => eprintln!("hint: \\d lists what there is; \\dn lists schemas, as in \\d SCHEMA.NAME"),
                false => eprintln!("hint: without quotes a name is in lower case; try \\d \"{name}\""),
            }
        }
        'relations: for relation in relations {
            for part in relation.parts(more) {
                let Some(rows) = self.catalog_rows(&part.question)? else { break 'relations };
                // Of the parts that hang on a relation those are shown that there are.
                if rows.is_empty() && part.title.is_none() {
                    continue;
                }
                let output = &mut self.runner.output;
                let titled = match part.title.filter(|_| output.style.shows_tags()) {
                    Some(title) => output.raw(format!("{title}\n").as_bytes()),
                    None => Ok(()),
                };
                let columns = part.columns.iter().map(|name| Column::text(name)).collect();
                titled
                    .and_then(|()| output.table(columns, &rows))
                    .map_err(|source| Error::Output { source })?;
            }
        }
        self.runner.output.finish().map_err(|source| Error::Output { source })?;
        self.show_time(started);
        Ok(())
    }

    /// `None` if the server did not answer, and has said why.
    fn catalog_rows(&mut self, question: &str) -> Result<Option<Vec<Vec<Option<String>>>>, Error> {
        let connection: &mut Connection = &mut self.runner.connection;
        if !self.runner.interrupt.watch(connection.canceller()) {
            return Ok(None);
        }
        let answer = connection.ask(question);
        self.runner.interrupt.finish();
        match answer {
            Ok(Answer { error: Some(error), .. }) => {
                eprintln!("{}", error.render(question, 1));
                Ok(None)
            }
            Ok(answer) => Ok(Some(answer.rows)),
            Err(error) => self.survived(Err(error.into())).map(|_| None),
        }
    }
}

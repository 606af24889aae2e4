//! The `\d` family: questions to the catalog, with the columns that psql shows.

mod data_type;
mod pattern;
mod privilege;
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
    let mut pattern = Pattern::parse(pattern);
    // In either order, as in psql.
    let bare = command.trim_end_matches(['+', 'S']);
    let more = command[bare.len()..].contains('+');
    pattern.system = command[bare.len()..].contains('S');
    let command = bare;
    Some(match (command, more) {
        ("d", _) => relations("'r', 'p', 'v', 'm', 'S', 'f'", &pattern, more),
        ("dt", _) => relations("'r', 'p'", &pattern, more),
        ("dv", _) => relations("'v'", &pattern, more),
        ("dm", _) => relations("'m'", &pattern, more),
        ("di", _) => relations("'i', 'I'", &pattern, more),
        ("ds", _) => relations("'S'", &pattern, more),
        ("df", _) => functions(&pattern, more),
        ("dn", _) => schemas(&pattern, more),
        ("du" | "dg", _) => roles(&pattern, more),
        ("dp" | "z", false) => privilege::list(&pattern),
        ("dT", _) => data_type::list(&pattern, more),
        ("dD", false) => data_type::domains(&pattern),
        ("dx", false) => format!(
            "select e.extname as \"Name\", e.extversion as \"Version\", n.nspname as \"Schema\", \
             pg_catalog.obj_description(e.oid, 'pg_extension') as \"Description\" \
             from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace \
             where {} order by 1",
            pattern.names("e.extname", "true")
        ),
        ("db", false) => format!(
            "select spcname as \"Name\", pg_catalog.pg_get_userbyid(spcowner) as \"Owner\", \
             pg_catalog.pg_tablespace_location(oid) as \"Location\" from pg_catalog.pg_tablespace where {} order by 1",
            pattern.names("spcname", "true")
        ),
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

fn functions(pattern: &Pattern, more: bool) -> String {
    let more = match more {
        true => {
            ", case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as \"Volatility\", \
             case p.proparallel when 's' then 'safe' when 'r' then 'restricted' else 'unsafe' end as \"Parallel\", \
             pg_catalog.pg_get_userbyid(p.proowner) as \"Owner\", \
             case when p.prosecdef then 'definer' else 'invoker' end as \"Security\", \
             pg_catalog.array_to_string(p.proacl, E'\\n') as \"Access privileges\", \
             (select l.lanname from pg_catalog.pg_language l where l.oid = p.prolang) as \"Language\", \
             pg_catalog.obj_description(p.oid, 'pg_proc') as \"Description\""
        }
        false => "",
    };
    format!(
        "select n.nspname as \"Schema\", p.proname as \"Name\", \
         pg_catalog.pg_get_function_result(p.oid) as \"Result data type\", \
         pg_catalog.pg_get_function_arguments(p.oid) as \"Argument data types\", \
         case p.prokind when 'a' then 'agg' when 'w' then 'window' when 'p' then 'proc' else 'func' end as \"Type\"{more} \
         from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
         where {} order by 1, 2, 4",
        pattern.objects("p.proname", "pg_catalog.pg_function_is_visible(p.oid)")
    )
}

fn schemas(pattern: &Pattern, more: bool) -> String {
    let more = match more {
        true => {
            ", pg_catalog.array_to_string(n.nspacl, E'\\n') as \"Access privileges\", \
             pg_catalog.obj_description(n.oid, 'pg_namespace') as \"Description\""
        }
        false => "",
    };
    format!(
        "select n.nspname as \"Name\", pg_catalog.pg_get_userbyid(n.nspowner) as \"Owner\"{more} \
         from pg_catalog.pg_namespace n where {} order by 1",
        pattern.names("n.nspname", "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'")
    )
}

fn roles(pattern: &Pattern, more: bool) -> String {
    let more = match more {
        true => ", pg_catalog.shobj_description(r.oid, 'pg_authid') as \"Description\"",
        false => "",
    };
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
         join pg_catalog.pg_roles b on b.oid = m.roleid where m.member = r.oid order by 1) as \"Member of\"{more} \
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
            remark!("error: there is no relation called `{name}` that you can see");
            match name.contains('"') || name == name.to_lowercase() {
                true => remark!("hint: \\d lists what there is; \\dn lists schemas, as in \\d SCHEMA.NAME"),
                false => remark!("hint: without quotes a name is in lower case; try \\d \"{name}\""),
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

    /// `\sf NAME`: the text of a function, to be copied as it is.
    pub(super) fn show_function(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            remark!("error: expected the name of a function, such as `\\sf lower(text)`; \\df lists them");
            return Ok(());
        }
        if !self.is_ready(&format!("\\sf {name}")) {
            return Ok(());
        }
        // Without arguments the name has to be that of one function alone.
        let kind = if name.contains('(') { "regprocedure" } else { "regproc" };
        let question = format!(
            "select pg_catalog.pg_get_functiondef({}::pg_catalog.{kind}::pg_catalog.oid)",
            pattern::literal(name)
        );
        let Some(rows) = self.catalog_rows(&question)? else { return Ok(()) };
        let text = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        let output = &mut self.runner.output;
        let shown = output.raw(text.as_bytes()).and_then(|()| output.finish());
        shown.map_err(|source| Error::Output { source })
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
                remark!("{}", error.render(question, 1));
                Ok(None)
            }
            Ok(answer) => Ok(Some(answer.rows)),
            Err(error) => self.survived(Err(error.into())).map(|_| None),
        }
    }
}

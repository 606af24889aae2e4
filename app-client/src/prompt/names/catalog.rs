//! The tables, columns and foreign keys that this user may name, as the catalog has them. Each name is
//! kept as a statement has to write it: with quotes where it needs them.

use std::collections::HashMap;

use super::joins::ForeignKey;
use crate::connection::{Answer, Connection};
use crate::script::plain;

/// More tables than anyone completes among; it bounds the memory, and the time before a statement that is
/// typed at once.
const MOST_TABLES: usize = 20_000;
/// Between the columns of a table: no name has it.
const SEPARATOR: char = '\x1f';

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether it is found without its schema.
    pub(super) visible: bool,
    pub(super) columns: Vec<String>,
}

impl Table {
    /// The server's own tables would bury the others.
    pub(super) fn is_system(&self) -> bool {
        self.schema == "pg_catalog" || self.schema == "information_schema"
    }

    /// As a statement names it.
    pub(super) fn written(&self) -> String {
        if self.visible { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) tables: Vec<Table>,
    pub(super) keys: Vec<ForeignKey>,
    /// Sorted, with those of the system at the end.
    pub(super) schemas: Vec<String>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Catalog {
    pub(super) fn new(tables: Vec<Table>, keys: Vec<ForeignKey>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut schemas: Vec<(bool, String)> = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            by_name.entry(plain(&table.name).into_owned()).or_default().push(index);
            schemas.push((table.is_system(), table.schema.clone()));
        }
        schemas.sort();
        schemas.dedup();
        let schemas = schemas.into_iter().map(|(_, schema)| schema).collect();
        Self { tables, keys, schemas, by_name }
    }

    /// The table that a statement means by `name`, or by `schema.name`.
    pub(super) fn find(&self, schema: Option<&str>, name: &str) -> Option<usize> {
        let mut named = self.by_name.get(name)?.iter().copied();
        named.find(|index| {
            let table = &self.tables[*index];
            schema.map_or(table.visible, |schema| plain(&table.schema) == schema)
        })
    }
}

/// Asks for the tables. `None` from a server that does not say; with them, the place of each by its number.
pub(super) fn tables(connection: &mut Connection) -> Option<(Vec<Table>, HashMap<String, usize>)> {
    // Those of the search path first, should there be too many.
    let question = format!(
        "select c.oid, quote_ident(n.nspname), quote_ident(c.relname), pg_catalog.pg_table_is_visible(c.oid), \
         (select string_agg(quote_ident(a.attname), E'\\x1f' order by a.attnum) \
         from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and pg_catalog.has_schema_privilege(n.oid, 'usage') \
         and (n.nspname !~ '^pg_(toast|temp_)' or pg_catalog.pg_table_is_visible(c.oid)) \
         order by n.nspname in ('pg_catalog', 'information_schema'), not pg_catalog.pg_table_is_visible(c.oid), \
         c.relname limit {MOST_TABLES}"
    );
    let Ok(Answer { error: None, rows, .. }) = connection.ask(&question) else { return None };
    let mut places = HashMap::new();
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        if let [Some(number), Some(schema), Some(name), Some(visible), columns] = row.as_slice() {
            places.insert(number.clone(), tables.len());
            tables.push(Table {
                schema: schema.clone(),
                name: name.clone(),
                visible: visible == "t",
                columns: columns.as_deref().map(apart).unwrap_or_default(),
            });
        }
    }
    Some((tables, places))
}

/// Asks for the foreign keys between tables that have a place.
pub(super) fn keys(connection: &mut Connection, places: &HashMap<String, usize>) -> Option<Vec<ForeignKey>> {
    let columns = |relation: &str, numbers: &str| {
        format!(
            "(select string_agg(quote_ident(a.attname), E'\\x1f' order by k.place) \
             from unnest({numbers}) with ordinality k(number, place) \
             join pg_catalog.pg_attribute a on a.attrelid = {relation} and a.attnum = k.number)"
        )
    };
    let question = format!(
        "select c.conrelid::pg_catalog.oid, {}, c.confrelid::pg_catalog.oid, {} from pg_catalog.pg_constraint c \
         join pg_catalog.pg_class r on r.oid = c.conrelid join pg_catalog.pg_class f on f.oid = c.confrelid \
         where c.contype = 'f' order by f.relname, r.relname limit {MOST_TABLES}",
        columns("c.conrelid", "c.conkey"),
        columns("c.confrelid", "c.confkey")
    );
    let Ok(Answer { error: None, rows, .. }) = connection.ask(&question) else { return None };
    let keys = rows.into_iter().filter_map(|row| match row.as_slice() {
        [Some(table), Some(columns), Some(other), Some(other_columns)] => Some(ForeignKey {
            table: *places.get(table)?,
            columns: apart(columns),
            other: *places.get(other)?,
            other_columns: apart(other_columns),
        }),
        _ => None,
    });
    Some(keys.collect())
}

fn apart(text: &str) -> Vec<String> {
    text.split(SEPARATOR).map(str::to_owned).collect()
}

//! `\dp`: who may do what with a table, with its columns, and with which of its rows.

use super::KIND;
use super::pattern::Pattern;

pub(super) fn list(pattern: &Pattern) -> String {
    format!(
        "select n.nspname as \"Schema\", c.relname as \"Name\", {KIND} as \"Type\", \
         pg_catalog.array_to_string(c.relacl, E'\\n') as \"Access privileges\", \
         pg_catalog.array_to_string(array(select a.attname || E':\\n  ' || pg_catalog.array_to_string(a.attacl, E'\\n  ') \
         from pg_catalog.pg_attribute a where a.attrelid = c.oid and not a.attisdropped and a.attacl is not null \
         order by a.attnum), E'\\n') as \"Column privileges\", \
         pg_catalog.array_to_string(array(select {POLICY} from pg_catalog.pg_policy p \
         where p.polrelid = c.oid order by p.polname), E'\\n') as \"Policies\" \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'v', 'm', 'S', 'f', 'p') and {} order by 1, 2",
        pattern.objects("c.relname", "pg_catalog.pg_table_is_visible(c.oid)")
    )
}

/// psql's way to write a policy: `name (r):`, then what is seen (u), what may be written (c), and whom it is for.
const POLICY: &str = "p.polname || case when p.polpermissive then '' else ' (RESTRICTIVE)' end \
    || case p.polcmd when '*' then ':' else ' (' || p.polcmd::text || '):' end \
    || coalesce(E'\\n  (u): ' || pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') \
    || coalesce(E'\\n  (c): ' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '') \
    || coalesce(E'\\n  to: ' || (select pg_catalog.string_agg(r.rolname, ', ' order by r.rolname) \
    from pg_catalog.pg_roles r where r.oid = any (p.polroles)), '')";

//! `\dT` and `\dD`: the data types and domains there are.

use super::pattern::Pattern;

pub(super) fn list(pattern: &Pattern, more: bool) -> String {
    let more = match more {
        true => {
            ", t.typname as \"Internal name\", case when t.typrelid <> 0 then 'tuple' when t.typlen < 0 then 'var' \
             else t.typlen::text end as \"Size\", pg_catalog.array_to_string(array(select e.enumlabel \
             from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder), E'\\n') as \"Elements\", \
             pg_catalog.pg_get_userbyid(t.typowner) as \"Owner\", \
             pg_catalog.array_to_string(t.typacl, E'\\n') as \"Access privileges\""
        }
        false => "",
    };
    // Rows of tables, and the arrays that each type has, say nothing new.
    format!(
        "select n.nspname as \"Schema\", pg_catalog.format_type(t.oid, null) as \"Name\"{more}, \
         pg_catalog.obj_description(t.oid, 'pg_type') as \"Description\" \
         from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
         where (t.typrelid = 0 or exists (select from pg_catalog.pg_class c where c.oid = t.typrelid and c.relkind = 'c')) \
         and not exists (select from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid) \
         and {} order by 1, 2",
        pattern.objects("t.typname", "pg_catalog.pg_type_is_visible(t.oid)")
    )
}

pub(super) fn domains(pattern: &Pattern) -> String {
    format!(
        "select n.nspname as \"Schema\", t.typname as \"Name\", \
         pg_catalog.format_type(t.typbasetype, t.typtypmod) as \"Type\", \
         (select o.collname from pg_catalog.pg_collation o join pg_catalog.pg_type b on b.oid = t.typbasetype \
         where o.oid = t.typcollation and t.typcollation <> b.typcollation) as \"Collation\", \
         case when t.typnotnull then 'not null' end as \"Nullable\", t.typdefault as \"Default\", \
         pg_catalog.array_to_string(array(select pg_catalog.pg_get_constraintdef(k.oid, true) \
         from pg_catalog.pg_constraint k where k.contypid = t.oid and k.contype = 'c' order by k.conname), ' ') as \"Check\" \
         from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
         where t.typtype = 'd' and {} order by 1, 2",
        pattern.objects("t.typname", "pg_catalog.pg_type_is_visible(t.oid)")
    )
}

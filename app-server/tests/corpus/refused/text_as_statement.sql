-- Text that is run as a statement where nobody can read it.

do $$ begin delete from content; end $$

do $$ begin execute 'drop table content'; end $$

do language plpgsql $$ begin null; end $$

do 'begin perform lo_create(1); end'

do $do$ begin execute format('alter role %I password %L', current_user, 'stolen'); end $do$

begin read write; do $$ begin execute 'drop table content'; end $$; commit

do $$ begin execute 'alter role tier_premium set work_mem = 64'; end $$

do $$ declare r record; begin for r in select query from pg_stat_activity loop raise notice '%', r.query; end loop; end $$

do $$ begin perform set_config('role', 'tier_admin', false); end $$

do $$ begin perform pg_notify('news', 'x'); end $$

call private.anything()

call pg_catalog.pg_stat_activity()

select query_to_xml('select query from pg_stat_activity', true, true, '')

select query_to_xmlschema('select 1', true, true, '')

select query_to_xml_and_xmlschema('select query from pg_stat_activity', true, true, '')

select table_to_xml('pg_stat_activity', true, true, '')

select table_to_xml_and_xmlschema('pg_stat_activity', true, true, '')

select cursor_to_xml('c', 1, true, true, '')

select schema_to_xml('public', true, true, '')

select schema_to_xml('pg_catalog', true, true, '')

select database_to_xml(true, true, '')

select pg_catalog."query_to_xml"('select lo_create(1)', true, true, '')

select ts_stat('select to_tsvector(query) from pg_stat_activity')

select * from ts_stat('select to_tsvector(''a'') from lo_create(1)')

select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery from lo_create(1)')

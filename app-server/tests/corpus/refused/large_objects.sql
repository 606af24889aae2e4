-- Data stored without a grant.

select lo_create(4711)

select lo_creat(-1)

select pg_catalog.lo_create(4712)

select "lo_create"(4713)

select LO_CREATE(4714)

select lo_from_bytea(4715, 'stored')

select pg_catalog . lo_from_bytea (0, 'stored')

select lo_put(1, 0, 'stored')

select lo_get(1)

select lo_open(1, 131072)

select lo_unlink(1)

select lo_import('/etc/passwd')

select lo_import('/etc/passwd', 4716)

select lo_export(1, '/tmp/stolen')

select lo_truncate(1, 0)

select lo_truncate64(1, 0)

select lowrite(1, 'stored')

select loread(1, 10)

select * from pg_largeobject

select data from pg_catalog.pg_largeobject

select * from pg_largeobject_metadata

insert into pg_largeobject (loid, pageno, data) values (1, 0, 'x')

select (select lo_create(4717)) from content

select lo_create(4718) from generate_series(1, 3)

select case when true then lo_create(4719) end

select coalesce(lo_create(4720), 0)

select array(select lo_create(4721))

select * from lo_create(4722)

select 1 where lo_create(4723) > 0

select 1 order by lo_create(4724)

select count(*) from content group by lo_create(4725)

select 1 limit (select lo_create(4726)::int)

values (lo_create(4727))

with c as (select lo_create(4728)) select * from c

explain analyze select lo_create(4729)

prepare stored as select lo_create($1)
-- then
execute stored(4730)

declare c cursor for select lo_create(4731)

copy (select lo_create(4732)) to stdout

select pg_logical_emit_message(false, 'x', 'y')

select pg_logical_emit_message(true, 'x', 'y'::bytea)

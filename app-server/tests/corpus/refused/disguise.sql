-- The same in clothes that a reader of words does not see through.

/* select */ delete from content

-- select
delete from content

select 1 -- ; begin
; delete from content

select 1 /* ; */ ; /* */ delete from content

select 1 /* /* nested */ ; */ ; truncate content

alter/**/role/**/tier_premium/**/password/**/'stolen'

alter /* a */ role -- b
tier_premium password 'stolen'

ALTER ROLE TIER_PREMIUM PASSWORD 'stolen'

aLtEr UsEr CuRrEnT_uSeR pAsSwOrD 'stolen'

	delete	from	content

delete
from
content

;;;delete from content

(delete from content)

select U&"lo_cr\0065ate"(4740)

select u&"lo_cr\0065ate"(4741)

select U&"lo_cr!0065ate" uescape '!' (4742)

select pg_catalog.U&"lo\005Fcreate"(4743)

select query from U&"pg_stat_\0061ctivity"

select set_config(U&'\0072ole', 'tier_admin', false)

select set_config(E'rol\145', 'tier_admin', false)

select E'\'; delete from content; --'; delete from content

select 'a\'; delete from content; --'

select $$a$$; delete from content

select $a$ $b$ $a$; delete from content

select "a"" from content; delete from content

select 1 as "x; --"; delete from content

explain explain delete from content

explain (format json, analyze) delete from content

explain (analyze on) select lo_create(4744)

explain analyze create table mine as select 1

explain analyze declare c cursor for select lo_create(4745)

prepare a as prepare b as delete from content

prepare stored as select query from pg_stat_activity
-- then
execute stored

select lo_create (4746)

select lo_create/**/(4747)

select pg_catalog./**/lo_create(4748)

select "pg_catalog"."lo_create"(4749)

select music.pg_catalog.lo_create(4750)

select ("lo_create"(4751))

select lo_create(oid => 4752)

select 'pg_authid'::regclass::text, (select rolpassword from pg_authid limit 1)

select 'lo_create(oid)'::regprocedure, lo_create(4753)

select title from content union select query from pg_stat_activity

select title from content intersect all select verifier from private.credential

select exists (select from private.credential)

select * from content where title in (select query from pg_stat_activity)

select * from content, lateral (select query from pg_stat_activity) q

select * from rows from (lo_create(4754), generate_series(1, 2))

select count(*) filter (where lo_create(4755) > 0) from content

select sum(duration_s) over (order by lo_create(4756)) from content

select xmlelement(name a, query) from pg_stat_activity

select json_agg(a) from pg_stat_activity a

select 'unterminated

select $$unterminated

select 1 /* unterminated

select "unterminated

nonsense

fetch all from c; delete from content

begin isolation level serializable read write; delete from content; commit and chain

execute immediate 'delete from content'

handler content open

exec sp_executesql 'delete from content'

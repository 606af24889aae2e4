-- Writes behind, inside or around something that may be said.

select 1; delete from content

select 1; drop table content

select 1; truncate playback

select 1; update app_user set account_type = 'admin'

select 1;;;; delete from content

begin; delete from content; commit

begin read write; delete from content; commit

begin; select 1; end; begin read write; delete from playlist; commit

start transaction read write; delete from playback; commit

begin; set transaction read write; delete from content; commit

set transaction read write; truncate content

with d as (delete from content returning *) select * from d

with d as (delete from playback returning *) select count(*) from d

with u as (update app_user set account_type = 'admin' returning *) select * from u

with recursive r as (select 1), d as (delete from playlist returning 1) select * from d

with a as (with b as (delete from content returning *) select * from b) select * from a

select * from (with d as (delete from content returning *) select * from d) s

explain analyze delete from content

explain (analyze, verbose) delete from playlist

explain (analyze true) delete from playback

explain analyze with d as (delete from content returning 1) select * from d

explain analyze execute stored

prepare stored as delete from content
-- then
execute stored

prepare stored as with d as (delete from playlist returning 1) select * from d
-- then
execute stored

prepare stored (int) as delete from playback where playback_id > $1
-- then
explain analyze execute stored(0)

declare c cursor for delete from content returning *

declare c cursor with hold for with d as (delete from content returning *) select * from d

copy (delete from content returning *) to stdout

copy (with d as (delete from content returning *) select * from d) to stdout

copy payment (subscription_id, amount_cents) from stdin

copy app_user from stdin

copy private.credential from stdin

delete from content using playlist where true

delete from only content

delete from content where current of c

truncate content

truncate content, playlist cascade

truncate only playback restart identity

select * into stolen from content

select 1 as a into stolen

select 1 as a into temp stolen

select 1 as a into temporary table content

select 1 as a into unlogged stolen

create table stolen as select * from content

create temp table content as select 1 as content_id

merge into content using (select 1) s on true when matched then delete

savepoint a; delete from content; release savepoint a

-- Making, changing and dropping things.

create table mine (a int)

create table public.mine (a int)

create unlogged table mine (a int)

create temp table mine (a int)

create temporary table playlist (playlist_id int)

create table pg_temp.content (a int)

create table private.mine (a int)

create table workspace.mine (a int)

create table if not exists content (a int)

create foreign table mine (a int) server s

create view mine as select * from content

create or replace view album_summary as select 1

create temp view playlist as select 1

create recursive view mine (n) as values (1)

create materialized view mine as select * from content

create index mine on content (title)

create unique index on content (duration_s)

create sequence mine

create temp sequence mine

create schema mine

create schema mine create table t (a int)

create schema authorization tier_premium

create function mine() returns int language sql as 'select 1'

create function pg_temp.mine() returns int language sql as 'select 1'

create or replace function public.record_play(bigint) returns bigint language sql as 'select 1'

create function public.lower(text) returns text language sql as 'select $1'

create procedure mine() language sql as 'delete from content'

create aggregate mine (int) (sfunc = int4pl, stype = int)

create operator === (function = int4eq, leftarg = int, rightarg = int)

create cast (text as int) with inout

create type mine as enum ('a')

create type mine as (a int)

create domain mine as int

create trigger mine after insert on content execute function private.count_plays()

create event trigger mine on ddl_command_start execute function f()

create rule mine as on select to content do instead delete from content

create policy mine on playlist using (true)

create extension pgcrypto

create extension if not exists dblink

create extension plpython3u

create language plperlu

create publication mine for all tables

create subscription mine connection 'host=127.0.0.1' publication p

create server mine foreign data wrapper postgres_fdw

create foreign data wrapper mine

create user mapping for current_user server s

create statistics mine on title, duration_s from content

create collation mine from "C"

create text search configuration mine (copy = simple)

create database mine

create tablespace mine location '/tmp'

create access method mine type index handler bthandler

alter table content owner to tier_free

alter table content owner to current_user

alter table content add column stolen text

alter table content drop column play_count

alter table content rename to mine

alter table content disable trigger all

alter table content alter column title set default 'mine'

alter table playlist disable row level security

alter table playlist no force row level security

alter table playlist enable row level security

alter table if exists playback set schema workspace

alter policy own_rows on playlist using (true)

alter view album_summary set (security_invoker = false)

alter view playlist_summary owner to tier_premium

alter function record_play(bigint) security invoker

alter function private.current_account() reset all

alter schema public owner to current_user

alter schema private rename to mine

alter sequence content_content_id_seq restart

alter database music set row_security = off

alter database music owner to tier_premium

alter default privileges grant all on tables to public

alter extension plpgsql update

alter large object 1 owner to tier_premium

alter publication p owner to tier_premium

drop table content

drop table if exists content cascade

drop table playlist restrict

drop view album_summary

drop policy own_rows on playlist

drop policy if exists own_rows on playback

drop trigger limit_plays on playback

drop function record_play(bigint)

drop function private.current_account() cascade

drop schema private cascade

drop schema public cascade

drop index content_title

drop sequence content_content_id_seq cascade

drop owned by tier_premium

drop database music

drop extension plpgsql

comment on table content is 'mine'

comment on role tier_free is 'mine'

security label on table content is 'mine'

vacuum content

vacuum full

analyze content

cluster content

reindex table content

reindex database music

checkpoint

refresh materialized view mine

reassign owned by tier_premium to tier_free

import foreign schema public from server s into public

lock table content in access exclusive mode

lock table playlist

lock content in exclusive mode nowait

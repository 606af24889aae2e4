-- Let through, and good for nothing.

reset role

reset role; select 'seen:' || user_id from app_user

reset session authorization

set search_path to private, public

set search_path to private; select * from pg_catalog.pg_tables where schemaname = 'public'

set row_security = off
-- then
select name from playlist

set row_security to off; select 'seen:' || user_id from playback

begin; set local row_security = off; select name from playlist; commit

set statement_timeout = 0

set work_mem = '64MB'

set default_tablespace = 'pg_global'

set session_authorization to default

reset all
-- then
select 'seen:' || user_id from user_genre

discard all
-- then
select name from playlist

discard plans

deallocate all

listen news

unlisten *

select rolname, rolpassword from pg_roles

select usename, passwd from pg_user

select * from pg_tables

select relname, reltuples from pg_class where relkind = 'r'

select prosrc from pg_proc where proname in ('find_login', 'current_account')

select polname, pg_get_expr(polqual, polrelid) from pg_policy

select has_table_privilege('private.credential', 'select')

select current_user, session_user, current_role, user

select inet_server_addr(), inet_client_addr(), version(), pg_postmaster_start_time()

select * from pg_locks

select pg_backend_pid(), txid_current_if_assigned()

select * from pg_settings where name like '%password%'

select current_setting('data_directory', true)

select pg_get_functiondef('public.record_play(bigint)'::regprocedure)

select * from information_schema.role_table_grants

select currval('playlist_playlist_id_seq')

select lastval()

begin; savepoint a; rollback to a; commit

select pg_sleep(0.01)

select pg_database_size('music'), pg_table_size('content')

set local_preload_libraries = '/tmp/stolen'

select 1 --{nel} ; alter role current_user set work_mem = '65kB'

-- Transactions, cursors, prepared statements and settings.

begin
-- then
select 1
-- then
commit

begin; select 1; end

begin read only; select 1; rollback

begin isolation level repeatable read; select 1; commit

start transaction isolation level serializable, read only
-- then
abort

begin; savepoint a; select 1; rollback to savepoint a; release a; commit

begin; declare c cursor for select title from content; fetch 2 from c; fetch backward 1 from c; close c; commit

begin; declare c scroll cursor for select 1; fetch last from c; commit

prepare p as select 1
-- then
execute p
-- then
deallocate p

prepare p (int) as select title from content where content_id = $1
-- then
execute p(1)
-- then
deallocate prepare p

deallocate all

discard all

discard plans

reset all

set timezone = 'Europe/Rome'

set time zone 'UTC'

set timezone to default

set datestyle to iso, dmy

set extra_float_digits = 3

set search_path to public

set search_path = public, pg_catalog

set statement_timeout = '5s'

set local work_mem = '4MB'

set application_name = 'report'

set client_encoding to 'UTF8'

set client_encoding = latin1

set names 'utf-8'

set client_min_messages to warning

set lock_timeout = 1000

set transaction read only

begin; set transaction isolation level serializable; select 1; commit

set session characteristics as transaction read only

set bytea_output = 'escape'

set intervalstyle = 'iso_8601'

set jit = off

set enable_seqscan to off

reset search_path

reset timezone

show all

show server_version

show transaction isolation level

show search_path

show time zone

select set_config('app.note', 'x', false)

select set_config('timezone', 'Asia/Tokyo', true)

select set_config('search_path', 'public', false)

listen news
-- then
unlisten news

unlisten *

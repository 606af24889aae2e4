-- Becoming somebody else, and changing what a shared role is.

set role tier_admin

set role 'tier_admin'

set role music_owner

set role postgres

set local role tier_admin

set session role tier_admin

set session authorization tier_admin

set session authorization 'postgres'

set local session authorization tier_admin

set "role" to 'tier_admin'

set role = tier_admin

set "session_authorization" = 'tier_admin'

set role tier_admin; select * from app_user

begin; set local role tier_admin; select tax_code from app_user; commit

select set_config('role', 'tier_admin', false)

select set_config('ROLE', 'tier_admin', true)

select pg_catalog.set_config('role', 'music_owner', false)

select set_config('session_authorization', 'postgres', false)

select set_config('is_superuser', 'on', false)

select set_config(name, 'tier_admin', false) from (values ('role')) as s(name)

select set_config('ro' || 'le', 'tier_admin', false)

select set_config(lower('ROLE'), 'tier_admin', false)

select set_config(E'\x72ole', 'tier_admin', false)

select set_config('role'::text, 'tier_admin', false)

select "set_config"('role', 'tier_admin', false)

select set_config($$role$$, 'tier_admin', false)

update pg_settings set setting = 'tier_admin' where name = 'role'

with u as (update pg_catalog.pg_settings set setting = 'tier_admin' where name = 'role' returning 1) select 1

set is_superuser = on

grant tier_admin to tier_free

grant tier_admin to tier_premium

grant tier_admin to current_user

grant tier_admin to tier_premium with admin option

grant music_owner to tier_premium

grant pg_read_all_data to tier_free

grant pg_write_all_data to tier_premium

grant pg_execute_server_program to tier_premium

grant pg_monitor to tier_free

grant pg_signal_backend to tier_free

grant all on content to public

grant select on private.credential to tier_premium

grant usage on schema private to tier_premium

grant delete on all tables in schema public to tier_premium

grant set on parameter log_statement to tier_premium

revoke select on content from tier_premium

revoke tier_premium from music_owner

create role mine superuser

create role mine login password 'x'

create user mine in role tier_admin

create group mine

alter role tier_free superuser

alter role tier_premium bypassrls

alter role tier_premium createrole

alter role current_user createdb

alter role current_user password 'stolen'

alter role session_user password null

alter user current_user with password 'stolen'

alter role tier_free password 'stolen'

alter role tier_premium password 'stolen'

begin read write; alter role tier_free password 'stolen'; commit

begin read write; alter role tier_premium password 'stolen'; commit

alter role tier_premium valid until '2000-01-01'

alter role tier_premium connection limit 0

alter role tier_premium rename to mine

alter role tier_premium set search_path = pg_catalog

alter role tier_free set default_transaction_read_only = off

alter role tier_premium set role = 'tier_admin'

alter role tier_premium in database music set row_security = off

alter role tier_premium in database music set statement_timeout = 0

alter role tier_premium set client_encoding = 'GBK'

alter role current_user set session_preload_libraries = 'x'

alter role all set work_mem = '1GB'

alter role tier_premium reset all

alter role tier_premium set work_mem from current

alter user mapping for current_user server s options (set password 'x')

alter group tier_admin add user tier_premium

drop role tier_admin

drop role if exists tier_premium

drop user app_auth

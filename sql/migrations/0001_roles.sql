-- The login roles. The query server logs in as the role of the person's tier and never changes role afterwards,
-- so there is nothing above a session that `reset role` could return to. Roles belong to the whole PostgreSQL
-- cluster: they may exist already. Passwords are set afterwards (see sql/README.md), never here.

do $$
declare
    login name;
begin
    foreach login in array array['tier_free', 'tier_premium', 'tier_admin', 'app_auth']::name[] loop
        if not exists (select from pg_catalog.pg_roles where rolname = login) then
            execute format('create role %I login noinherit nosuperuser nocreatedb nocreaterole noreplication', login);
        end if;
        -- The owner becomes a member of the tiers (never the other way round): PostgreSQL shows when a session began
        -- only to members of its role, and the identity check needs that.
        if not pg_catalog.pg_has_role(current_user, login, 'usage') then
            execute format('grant %I to %I', login, current_user);
        end if;
        if current_setting('server_version_num')::int >= 160000 then
            execute format('grant %I to %I with inherit true', login, current_user);
        end if;
        execute format('grant connect on database %I to %I', current_database(), login);
    end loop;
    -- Without TEMPORARY nobody can shadow a table with a temporary one.
    execute format('revoke all on database %I from public', current_database());
end
$$;

revoke all on schema public from public;
grant usage on schema public to tier_free, tier_premium, tier_admin;
-- What admins create stays out of `public`: a function of theirs there would be found by the owner's own unqualified calls, and
-- would run as the owner.
create schema workspace;
grant usage, create on schema workspace to tier_admin;
-- A function is executable by everybody unless it says otherwise.
alter default privileges revoke execute on functions from public;

-- The server pins these in every session it opens; the role settings cover a login that comes from elsewhere.
alter role tier_free set default_transaction_read_only = on;

-- What only a superuser may do is done where the owner may, and left to the server's statement allow-list elsewhere.
do $$
declare
    statement text;
begin
    -- A revoke that has no effect is a warning, and expected here.
    perform set_config('client_min_messages', 'error', true);
    foreach statement in array array[
        -- People share a role: they must not read or stop each other's statements.
        'alter role tier_free set track_activities = off',
        'alter role tier_premium set track_activities = off',
        'alter role tier_admin set track_activities = off',
        'revoke execute on function pg_catalog.pg_cancel_backend(int) from public',
        'revoke execute on function pg_catalog.pg_terminate_backend(int, bigint) from public',
        -- A large object is data stored by a role that may only read.
        'revoke execute on function pg_catalog.lo_creat(int) from public',
        'revoke execute on function pg_catalog.lo_create(oid) from public',
        'revoke execute on function pg_catalog.lo_from_bytea(oid, bytea) from public',
        'revoke execute on function pg_catalog.lo_put(oid, bigint, bytea) from public',
        'revoke execute on function pg_catalog.lowrite(int, bytea) from public',
        'revoke execute on function pg_catalog.lo_unlink(oid) from public',
        'revoke execute on function pg_catalog.lo_open(oid, int) from public',
        'alter role tier_free set temp_file_limit = ''256MB''',
        'alter role tier_premium set temp_file_limit = ''1GB'''
    ] loop
        begin
            execute statement;
        exception when insufficient_privilege then
            raise debug 'left to the server: %', statement;
        end;
    end loop;
    perform set_config('client_min_messages', 'notice', true);
end
$$;

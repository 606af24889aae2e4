-- What no tier may see: credentials, the identity key, and the functions that use them. Tiers have no USAGE on the
-- schema; row security policies still run `current_account()`, because a stored policy needs EXECUTE only.
--
-- Every function here runs as the owner (SECURITY DEFINER) and therefore pins its search_path.

create schema private;

create table private.credential (
    user_id bigint primary key references public.app_user on delete cascade,
    -- `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, as PostgreSQL itself stores passwords.
    verifier text not null
        check (verifier ~ '^SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]+={0,2}:[A-Za-z0-9+/]+={0,2}$'),
    expires_at timestamptz,
    locked_until timestamptz,
    changed_at timestamptz not null default now()
);

create table private.identity_key (
    is_only_row boolean primary key default true check (is_only_row),
    key bytea not null check (length(key) >= 32)
);

-- The verifiers of the tiers' own logins, so that they can be put back (see restore_tier_logins).
create table private.tier_login (
    role_name name primary key check (role_name in ('tier_free', 'tier_premium', 'tier_admin', 'app_auth')),
    verifier text not null check (verifier ~ '^SCRAM-SHA-256\$')
);

-- Stores what a person logs in with. The address decides in lower case.
create function private.set_credential(email text, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    account bigint;
begin
    select u.user_id into account from public.app_user u where lower(u.email) = lower(set_credential.email);
    if account is null then
        raise exception 'no user has the e-mail address %', set_credential.email using errcode = 'no_data_found';
    end if;
    insert into private.credential (user_id, verifier) values (account, set_credential.verifier)
    on conflict (user_id) do update set verifier = excluded.verifier, changed_at = now();
end
$$;

-- The key that signs `app.identity`, in base64: the very text the server reads from IDENTITY_KEY.
create function private.set_identity_key(key_base64 text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into private.identity_key (key) values (decode(key_base64, 'base64'))
    on conflict (is_only_row) do update set key = excluded.key
$$;

-- Sets the password of a login role from its verifier, and remembers it.
create function private.set_tier_login(role_name name, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into private.tier_login values (set_tier_login.role_name, set_tier_login.verifier)
    on conflict on constraint tier_login_pkey do update set verifier = excluded.verifier;
    execute format('alter role %I password %L', set_tier_login.role_name, set_tier_login.verifier);
end
$$;

-- Any role may change its own password, so somebody who shares a tier could lock all others out. The server calls
-- this when a tier's login is refused; false says that nothing is remembered for it.
create function private.restore_tier_login(role_name name) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    remembered text;
begin
    select t.verifier into remembered from private.tier_login t where t.role_name = restore_tier_login.role_name;
    if remembered is null then
        return false;
    end if;
    execute format('alter role %I password %L', restore_tier_login.role_name, remembered);
    return true;
end
$$;

-- HMAC-SHA-256 (RFC 2104) by the built-in sha256(): pgcrypto is not installed everywhere.
create function private.hmac_sha256(key bytea, message bytea) returns bytea
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
    block bytea := case when length(key) > 64 then sha256(key) else key end;
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    for i in 0 .. length(block) - 1 loop
        inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(block, i));
        outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(block, i));
    end loop;
    return sha256(outer_pad || sha256(inner_pad || message));
end
$$;

-- The account that the server vouches for in this very session, else null.
-- `app.identity` is `<account>:<hex HMAC of "identity:<account>:<backend pid>:<backend start, microseconds>">`: anybody can
-- set it, nobody without the key can make one, and one made for another session does not verify here.
create function private.current_account() returns bigint
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
declare
    identity text := current_setting('app.identity', true);
    account text := substring(identity from '^([0-9]{1,18}):[0-9a-f]{64}$');
    expected bytea;
    verified bigint;
begin
    if account is null then
        return null;
    end if;
    select private.hmac_sha256(k.key, convert_to(format('identity:%s:%s:%s', account, a.pid,
               (extract(epoch from a.backend_start) * 1000000)::bigint), 'UTF8'))
    into expected
    from private.identity_key k, pg_stat_get_activity(pg_backend_pid()) a;
    if expected is null or expected <> decode(split_part(identity, ':', 2), 'hex') then
        return null;
    end if;
    select u.user_id into verified from public.app_user u where u.user_id = account::bigint and u.is_active;
    return verified;
end
$$;

-- What the server needs to check a login, and all that its own login role may ask about a person.
create function private.find_login(email text)
returns table (account_id bigint, tier text, verifier text, is_active boolean, is_locked boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select u.user_id, u.account_type, c.verifier, u.is_active,
           coalesce(c.locked_until > now(), false) or coalesce(c.expires_at <= now(), false)
    from public.app_user u
    join private.credential c using (user_id)
    where lower(u.email) = lower(find_login.email)
$$;

-- Lets the server prove that it holds the same identity key, before people find their rows missing.
create function private.identity_key_proof(nonce text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select encode(private.hmac_sha256(k.key, convert_to('proof:' || nonce, 'UTF8')), 'hex') from private.identity_key k
$$;

revoke all on schema private from public;
revoke execute on all functions in schema private from public;
grant execute on function private.current_account() to tier_free, tier_premium, tier_admin;
grant usage on schema private to app_auth;
grant execute on function private.find_login(text), private.identity_key_proof(text),
    private.restore_tier_login(name) to app_auth;

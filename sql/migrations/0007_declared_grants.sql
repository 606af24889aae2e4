-- What each login role may do, written down beside the grants themselves: the query server asks for the difference before it
-- serves, so that a privilege that somebody adds by hand, or that comes with an extension, is found out.
--
-- A migration that grants something adds it here; one that revokes something takes it out.

create table private.declared_grant (
    grantee name not null,
    -- As aclexplode() names it; a row security policy is `policy` and its name.
    privilege text not null,
    -- `public.album`, `public.app_user.email`, `public.record_play(bigint)`, `schema public`, `this database`
    object text not null,
    primary key (grantee, privilege, object)
);

insert into private.declared_grant (grantee, privilege, object)
select grantee, privilege, scope || name
from (values
    ('app_auth tier_free tier_premium tier_admin', 'CONNECT', '', 'this database'),
    ('tier_free tier_premium tier_admin', 'USAGE', 'schema ', 'public'),
    ('tier_admin', 'USAGE CREATE', 'schema ', 'workspace'),
    ('app_auth', 'USAGE', 'schema ', 'private'),

    ('app_auth', 'EXECUTE', 'private.', 'find_login(text)'),
    ('app_auth', 'EXECUTE', 'private.', 'identity_key_proof(text)'),
    ('app_auth', 'EXECUTE', 'private.', 'restore_tier_login(name)'),
    ('app_auth', 'EXECUTE', 'private.', 'undeclared_grants()'),
    ('tier_free tier_premium tier_admin', 'EXECUTE', 'private.', 'current_account()'),
    ('tier_free tier_premium tier_admin', 'EXECUTE', 'public.', 'record_play(bigint)'),
    ('tier_admin', 'EXECUTE', 'public.', 'expire_subscriptions(timestamp with time zone)'),

    ('tier_free tier_premium tier_admin', 'SELECT', 'public.',
     'account_type content_type artist album content content_artist genre content_genre plan album_summary user_genre playlist '
     'playlist_item playlist_summary playback subscription payment'),
    ('tier_free tier_premium', 'SELECT', 'public.app_user.', 'user_id email first_name last_name account_type created_at'),
    ('tier_free tier_premium tier_admin', 'SELECT', 'public.payment_method.',
     'method_id user_id brand last4 exp_month exp_year'),

    ('tier_premium', 'INSERT UPDATE', 'public.content.', 'title duration_s content_type album_id track_no'),
    ('tier_premium', 'INSERT', 'public.', 'content_artist content_genre'),
    ('tier_premium', 'INSERT', 'public.artist.', 'name'),
    ('tier_premium', 'UPDATE', 'public.content_artist.', 'artist_id'),
    ('tier_premium', 'UPDATE', 'public.content_genre.', 'genre_id'),
    ('tier_premium', 'INSERT', 'public.playlist.', 'owner_id name'),
    ('tier_premium', 'UPDATE', 'public.playlist.', 'name'),
    ('tier_premium', 'INSERT', 'public.playlist_item.', 'playlist_id content_id position'),
    ('tier_premium', 'UPDATE', 'public.playlist_item.', 'position'),
    ('tier_premium', 'INSERT', 'public.user_genre.', 'user_id genre_id'),
    ('tier_premium', 'UPDATE', 'public.user_genre.', 'genre_id'),
    ('tier_premium', 'INSERT', 'public.playback.', 'user_id content_id'),
    ('tier_premium', 'UPDATE', 'public.playback.', 'content_id'),

    ('tier_admin', 'INSERT UPDATE DELETE', 'public.',
     'account_type content_type artist album content content_artist genre content_genre plan app_user user_genre playlist '
     'playlist_item playback subscription payment'),
    ('tier_admin', 'SELECT', 'public.', 'app_user'),
    ('tier_admin', 'INSERT DELETE', 'public.', 'payment_method'),
    ('tier_admin', 'UPDATE', 'public.payment_method.', 'brand last4 exp_month exp_year'),

    ('tier_free tier_premium', 'policy_own_rows', 'public.',
     'app_user user_genre playlist playlist_item playback subscription payment_method payment'),
    ('tier_admin', 'policy_all_rows', 'public.',
     'app_user user_genre playlist playlist_item playback subscription payment_method payment')
) as declared (grantees, privileges, scope, names)
cross join lateral regexp_split_to_table(grantees, ' ') grantee
cross join lateral regexp_split_to_table(privileges, ' ') privilege
-- Only a list of columns or tables has spaces that part names.
cross join lateral regexp_split_to_table(names, case when names ~ '[()]|^this' then '$^' else ' ' end) name;

-- What the login roles, and everybody, hold at the moment, but for what PostgreSQL itself gives everybody in its own catalogue, and
-- but for the schemas in which admins own what they make. Asked for with logins, so that it has to be quick: of the thousands of
-- PostgreSQL's own objects only those are looked into that are not as they came.
create view private.present_grant as
with secured as (
    select 'pg_class'::regclass as catalog, c.oid, 0 as part, n.nspname || '.' || c.relname as object, c.relowner as owner,
           c.relacl as acl, case c.relkind when 'S' then 's' else 'r' end::"char" as kind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname !~ '^(workspace|information_schema|pg_temp_[0-9]+)$'
    union all
    select 'pg_class'::regclass, c.oid, a.attnum, n.nspname || '.' || c.relname || '.' || a.attname, c.relowner, a.attacl, 'c'
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where a.attacl is not null and n.nspname !~ '^(workspace|information_schema|pg_temp_[0-9]+)$'
    union all
    select 'pg_proc'::regclass, p.oid, 0, format('%s.%s(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), p.proowner,
           p.proacl, 'f'
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where (p.proacl is not null or p.oid >= 16384) and n.nspname !~ '^(workspace|pg_temp_[0-9]+)$'
    union all
    select 'pg_namespace'::regclass, n.oid, 0, 'schema ' || n.nspname, n.nspowner, n.nspacl, 'n'
    from pg_namespace n
    where n.nspname <> 'information_schema'
    union all
    select 'pg_database'::regclass, d.oid, 0, 'this database', d.datdba, d.datacl, 'd'
    from pg_database d where d.datname = current_database()
    union all
    select 'pg_parameter_acl'::regclass, p.oid, 0, 'parameter ' || p.parname, 10, p.paracl, 'p'
    from pg_parameter_acl p
    union all
    select 'pg_foreign_server'::regclass, s.oid, 0, 'foreign server ' || s.srvname, s.srvowner, s.srvacl, 'S'
    from pg_foreign_server s
    union all
    select 'pg_largeobject'::regclass, l.oid, 0, 'large object ' || l.oid, l.lomowner, l.lomacl, 'L'
    from pg_largeobject_metadata l
), changed as (
    select s.*, case when is_postgresqls_own then coalesce(i.initprivs, acldefault(s.kind, s.owner)) end as first
    -- Numbers below 16384 are of what PostgreSQL came with (FirstNormalObjectId). A database is always ours.
    from (select *, oid < 16384 and kind <> 'd' as is_postgresqls_own from secured) s
    left join pg_init_privs i on s.is_postgresqls_own and i.classoid = s.catalog and i.objoid = s.oid and i.objsubid = s.part
    where not s.is_postgresqls_own or s.acl <> coalesce(i.initprivs, '{}')
)
select coalesce(r.rolname, 'PUBLIC')::name as grantee,
       held.privilege_type || case when held.is_grantable then ' with grant option' else '' end as privilege, c.object,
       case when c.catalog = 'pg_class'::regclass and c.part = 0 then c.oid end as relation
from changed c
cross join lateral aclexplode(coalesce(c.acl, acldefault(c.kind, c.owner))) held
left join pg_roles r on r.oid = held.grantee
where (held.grantee = 0 or r.rolname in ('app_auth', 'tier_free', 'tier_premium', 'tier_admin'))
-- What a role owns is looked at by itself.
and held.grantee <> c.owner
and not exists (
    select from aclexplode(c.first) given
    where given.grantee = held.grantee and given.privilege_type = held.privilege_type and given.is_grantable >= held.is_grantable)
union all
select coalesce(r.rolname, 'PUBLIC'), 'policy_' || p.polname, n.nspname || '.' || c.relname, c.oid
from pg_policy p
join pg_class c on c.oid = p.polrelid
join pg_namespace n on n.oid = c.relnamespace
cross join lateral unnest(p.polroles) holder
left join pg_roles r on r.oid = holder
where p.polpermissive and n.nspname !~ '^(workspace|pg_temp_[0-9]+)$';

-- What a login role holds beyond what is declared, one row each: the role, and what it may or is not kept from.
create function private.undeclared_grants() returns table (role_name text, excess text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with present as materialized (select * from private.present_grant)
    select p.grantee::text, case when starts_with(p.privilege, 'policy_') then format('sees rows of %s by a policy of its own', p.object)
                                 else format('may %s on %s', p.privilege, p.object) end
    from present p
    where not exists (select from private.declared_grant d
                      where (d.grantee, d.privilege, d.object) = (p.grantee, p.privilege, p.object))
    union all
    -- Own rows only: row security is on, and the policy asks who it is, both ways.
    select d.grantee::text, format('is not kept to its own rows of %s', d.object)
    from private.declared_grant d
    left join pg_class c on c.oid = case d.privilege when 'policy_own_rows' then to_regclass(d.object) end
    left join pg_policy p on p.polrelid = c.oid and p.polname = 'own_rows'
    where d.privilege = 'policy_own_rows'
    and (c.relrowsecurity and strpos(pg_get_expr(p.polqual, p.polrelid), 'current_account(') > 0
         and strpos(pg_get_expr(p.polwithcheck, p.polrelid), 'current_account(') > 0) is not true
    union all
    -- A view that asks with its owner's rights shows everybody's rows.
    select p.grantee::text, format('sees through %s what its owner sees', p.object)
    from present p
    join pg_class c on c.oid = p.relation
    where p.privilege = 'SELECT' and c.relkind = 'v' and c.oid >= 16384
    and not coalesce('security_invoker=true' = any (c.reloptions), false)
$$;

revoke all on function private.undeclared_grants() from public;
grant execute on function private.undeclared_grants() to app_auth;

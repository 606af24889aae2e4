-- The rules of the platform that a key or a check cannot express. The trigger functions run as the owner: they touch
-- columns that the person who caused them may not. SQLSTATE class MU is ours.

-- MU001: a free account plays at most 10 contents per UTC day. The update of the person's row is the lock: at every
-- isolation level two concurrent plays are counted one after the other.
create function private.limit_plays() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tier text;
    today timestamptz := date_trunc('day', new.played_at, 'UTC');
    plays int;
begin
    update public.app_user set last_played_at = new.played_at where user_id = new.user_id
    returning account_type into tier;
    if tier = 'free' then
        select count(*) into plays from public.playback
        where user_id = new.user_id and played_at >= today and played_at < today + interval '24 hours';
        if plays >= 10 then
            raise exception 'a free account plays at most 10 contents a day'
                using errcode = 'MU001', hint = 'try again tomorrow (UTC), or upgrade to premium';
        end if;
    end if;
    return new;
end
$$;
create trigger limit_plays before insert on public.playback
for each row execute function private.limit_plays();

-- content.play_count is the number of plays recorded.
create function private.count_plays() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op in ('DELETE', 'UPDATE') then
        update public.content set play_count = play_count - 1 where content_id = old.content_id;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        update public.content set play_count = play_count + 1 where content_id = new.content_id;
    end if;
    return null;
end
$$;
create trigger count_plays after insert or delete or update of content_id on public.playback
for each row execute function private.count_plays();

-- MU002: a free account cannot create playlists. Those of a downgraded account stay, and can be read.
create function private.refuse_free_playlist() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from public.app_user where user_id = new.owner_id and account_type = 'free') then
        raise exception 'a free account cannot create playlists'
            using errcode = 'MU002', hint = 'upgrade to premium to create playlists';
    end if;
    return new;
end
$$;
create trigger refuse_free_playlist before insert or update of owner_id on public.playlist
for each row execute function private.refuse_free_playlist();

-- A payment extends the subscription by one period from the later of now and its end, and makes its owner premium.
create function private.apply_payment() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    account bigint;
begin
    update public.subscription s
    set valid_until = greatest(new.paid_at, s.valid_until) + make_interval(days => p.period_days), status = 'active'
    from public.plan p
    where s.subscription_id = new.subscription_id and p.code = s.plan_code
    returning s.user_id into account;
    update public.app_user set account_type = 'premium' where user_id = account and account_type = 'free';
    return null;
end
$$;
create trigger apply_payment after insert on public.payment
for each row execute function private.apply_payment();

-- Run daily: ends what was not paid for and makes its owner free again. Answers how many accounts that were.
create function public.expire_subscriptions(as_of timestamptz default now()) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with expired as (
        update public.subscription set status = 'expired'
        where status = 'active' and valid_until < as_of
        returning user_id
    ), downgraded as (
        update public.app_user set account_type = 'free'
        where user_id in (select user_id from expired) and account_type = 'premium'
        returning user_id
    )
    select count(*) from downgraded
$$;

-- The one way in which a free account writes: it records that the person asking played a content.
create function public.record_play(content_id bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    account bigint := private.current_account();
    recorded bigint;
begin
    if account is null then
        raise exception 'only a logged-in person can record a play' using errcode = 'insufficient_privilege';
    end if;
    insert into public.playback (user_id, content_id) values (account, record_play.content_id)
    returning playback_id into recorded;
    return recorded;
end
$$;

revoke execute on function public.expire_subscriptions(timestamptz), public.record_play(bigint) from public;
revoke execute on all functions in schema private from public;
grant execute on function public.record_play(bigint) to tier_free, tier_premium, tier_admin;
grant execute on function public.expire_subscriptions(timestamptz) to tier_admin;

-- Who may do what. Grants decide which statements a tier may run; row security decides on whose rows.
--
--          select               insert / update                               delete, create, drop
-- free     catalogue, own rows  no                                            no
-- premium  catalogue, own rows  contents; own playlists, preferences, plays   no
-- admin    everything           everything                                    yes (create and drop in the schema `workspace`)

-- The catalogue: everybody reads it.
grant select on account_type, content_type, artist, album, content, content_artist, genre, content_genre, plan,
    album_summary
to tier_free, tier_premium, tier_admin;

-- People: a person sees the own row, without phone and tax code.
grant select (user_id, email, first_name, last_name, account_type, created_at) on app_user to tier_free, tier_premium;
grant select on user_genre, playlist, playlist_item, playlist_summary, playback, subscription, payment
to tier_free, tier_premium;
grant select (method_id, user_id, brand, last4, exp_month, exp_year) on payment_method to tier_free, tier_premium;

-- Premium writes contents and what is its own; play_count, played_at and owners' columns follow from rules.
grant insert (title, duration_s, content_type, album_id, track_no), update (title, duration_s, content_type, album_id, track_no)
on content to tier_premium;
grant insert (name) on artist to tier_premium;
grant insert on content_artist, content_genre to tier_premium;
grant update (artist_id) on content_artist to tier_premium;
grant update (genre_id) on content_genre to tier_premium;
grant insert (owner_id, name), update (name) on playlist to tier_premium;
grant insert (playlist_id, content_id, position), update (position) on playlist_item to tier_premium;
grant insert (user_id, genre_id), update (genre_id) on user_genre to tier_premium;
grant insert (user_id, content_id) on playback to tier_premium;

grant select, insert, update, delete on account_type, content_type, artist, album, content, content_artist, genre,
    content_genre, plan, app_user, user_genre, playlist, playlist_item, playback, subscription, payment
to tier_admin;
grant select on playlist_summary to tier_admin;
-- The provider's token pays: not even an admin reads it.
grant select (method_id, user_id, brand, last4, exp_month, exp_year), insert, delete,
    update (brand, last4, exp_month, exp_year)
on payment_method to tier_admin;

-- `insert into playlist (name) values (..)` is enough: the owner is the person asking.
alter table playlist alter column owner_id set default private.current_account();
alter table user_genre alter column user_id set default private.current_account();
alter table playback alter column user_id set default private.current_account();

-- Own rows. `(select ..)` asks once per statement, not once per row.
do $$
declare
    owned record;
begin
    for owned in
        select * from (values
            ('app_user', 'user_id = (select private.current_account())'),
            ('user_genre', 'user_id = (select private.current_account())'),
            ('playlist', 'owner_id = (select private.current_account())'),
            ('playlist_item', 'exists (select from public.playlist p where p.playlist_id = playlist_item.playlist_id'
                              ' and p.owner_id = (select private.current_account()))'),
            ('playback', 'user_id = (select private.current_account())'),
            ('subscription', 'user_id = (select private.current_account())'),
            ('payment_method', 'user_id = (select private.current_account())'),
            ('payment', 'exists (select from public.subscription s where s.subscription_id = payment.subscription_id'
                        ' and s.user_id = (select private.current_account()))')
        ) as t (table_name, condition)
    loop
        execute format('alter table public.%I enable row level security', owned.table_name);
        execute format('create policy own_rows on public.%1$I to tier_free, tier_premium using (%2$s) with check (%2$s)',
                       owned.table_name, owned.condition);
        execute format('create policy all_rows on public.%I to tier_admin using (true) with check (true)',
                       owned.table_name);
    end loop;
end
$$;

-- Rows made in another person's name.

insert into playlist (owner_id, name) values ({juno}, 'Forged')

insert into playlist (owner_id, name) select {juno}, 'Forged'

insert into playlist (owner_id, name) values ({admin}, 'Forged')

insert into playlist (owner_id, name) values ({juno}, 'Forged') on conflict do nothing

insert into playlist (owner_id, name) values ({juno}, 'Morning') on conflict (owner_id, name) do update set name = 'Forged'

with i as (insert into playlist (owner_id, name) values ({juno}, 'Forged') returning *) select * from i

insert into playlist_item (playlist_id, content_id, position) values ({juno_list}, 10, 90)

insert into playlist_item (playlist_id, content_id, position) select {juno_list}, content_id, 90 from content limit 1

insert into playback (user_id, content_id) values ({juno}, 1)

insert into playback (user_id, content_id) values ({admin}, 1)

insert into playback (user_id, content_id) values (999999, 1)

insert into user_genre (user_id, genre_id) values ({juno}, 3)

insert into user_genre (user_id, genre_id) values ({juno}, 3) on conflict do nothing

merge into playlist using (select 1) s on false when not matched then insert (owner_id, name) values ({juno}, 'Forged')

prepare stored (bigint) as insert into playlist (owner_id, name) values ($1, 'Forged')
-- then
execute stored({juno})

update playlist set owner_id = {juno}

update playlist set owner_id = {own}

update playback set user_id = {juno}

delete from playlist where owner_id = {juno}

delete from playback where user_id = {juno}

delete from user_genre

-- What premium pays for, undone at the end.

begin; insert into content (title, duration_s, content_type) values ('New', 200, 'song') returning content_id; rollback

begin; insert into content (title, duration_s, content_type) values ('A', 1, 'song'), ('B', 2, 'podcast'); rollback

begin; insert into content (title, duration_s, content_type) select title || '!', duration_s, content_type from content; rollback

begin; update content set duration_s = duration_s + 1 where content_id = 1; rollback

begin; update content set (title, duration_s) = ('X', 9) where content_id = 1 returning *; rollback

begin; update content c set title = a.title from album a where a.album_id = c.album_id; rollback

begin; with u as (update content set duration_s = 1 returning title) select * from u; rollback

begin; insert into artist (name) values ('Somebody') on conflict (name) do nothing; rollback

begin; insert into content_artist (content_id, artist_id) values (1, 2); rollback

begin; insert into content_genre (content_id, genre_id) values (1, 2); rollback

begin; insert into playlist (name) values ('Mine'); rollback

begin; insert into playlist (name) values ('Mine') returning playlist_id, owner_id, name; rollback

begin; insert into playlist (owner_id, name) values ({own}, 'Mine'); rollback

begin; insert into playlist (name) values ('Mine') on conflict (owner_id, name) do update set name = excluded.name; rollback

begin; update playlist set name = name || '!' where owner_id = {own}; rollback

begin; update playlist_item set position = position + 100; rollback

begin; insert into playlist_item (playlist_id, content_id, position) select min(playlist_id), 9, 99 from playlist; rollback

begin; insert into user_genre (genre_id) values (9); rollback

begin; update user_genre set genre_id = 9 where genre_id = (select min(genre_id) from user_genre); rollback

begin; insert into playback (content_id) values (1); rollback

begin; insert into playback (user_id, content_id) values ({own}, 2); rollback

begin; select * from content where content_id = 1 for update; rollback

begin; select * from playlist for share skip locked; rollback

begin; explain analyze update content set duration_s = 1; rollback

begin; merge into artist using (values ('Merged')) s(name) on artist.name = s.name when not matched then insert (name) values (s.name); rollback

begin read only; select 1; rollback

prepare p (text) as update content set title = $1 where false
-- then
execute p('x')
-- then
deallocate p

-- A free account writes nothing but a play of its own.

insert into content (title, duration_s, content_type) values ('New', 200, 'song')

insert into content (title, duration_s, content_type) values ('New', 200, 'song') returning content_id

insert into content (title, duration_s, content_type) select title, duration_s, content_type from content

update content set duration_s = 1

update content set title = 'Mine' where content_id = 1

update content set title = title

with u as (update content set duration_s = 1 returning *) select * from u

insert into artist (name) values ('Nobody')

insert into content_artist (content_id, artist_id) values (1, 2)

insert into content_genre (content_id, genre_id) values (1, 2)

update content_genre set genre_id = 3

insert into playlist (name) values ('Mine')

insert into playlist (owner_id, name) values ({own}, 'Mine')

update playlist set name = 'Mine'

insert into playlist_item (playlist_id, content_id, position) values (1, 1, 9)

insert into user_genre (genre_id) values (9)

insert into user_genre (user_id, genre_id) values ({own}, 9)

update user_genre set genre_id = 9

insert into playback (content_id) values (1)

insert into playback (user_id, content_id) values ({own}, 1)

copy content (title, duration_s, content_type) from stdin

copy artist (name) from stdin

merge into artist using (select 1) s on false when not matched then insert (name) values ('Nobody')

explain analyze insert into artist (name) values ('Nobody')

prepare stored as insert into artist (name) values ('Nobody')
-- then
execute stored

select * from content for update

select * from content for no key update

select * from content for share

select * from playlist for update skip locked

select record_play(1), record_play(2)

select record_play(content_id) from content

select record_play(1) from content

select record_play(1); select record_play(2)

begin; select record_play(1); commit

with p as (select record_play(1)) select * from p

select public.record_play(1)

select record_play((select min(content_id) from content))

explain analyze select record_play(1)

set default_transaction_read_only = off; insert into artist (name) values ('Nobody')

set default_transaction_read_only = off
-- then
insert into artist (name) values ('Nobody')

set session characteristics as transaction read write
-- then
update content set duration_s = 1

begin read write
-- then
insert into playlist (name) values ('Mine')

set transaction_read_only = off; update content set duration_s = 1

begin read write

start transaction isolation level serializable, read write

set transaction read write

begin; set transaction read write; select record_play(1); commit

begin; set local transaction_read_only = off; select record_play(1); commit

begin; reset transaction_read_only; select record_play(1); commit

begin; select set_config('transaction_read_only', 'off', true); select record_play(1); commit

set session characteristics as transaction read write

-- Somebody else's identity: taken over, made up, or lost.

select set_config('app.identity', '{juno_identity}', false)
-- then
select name from playlist

begin; select set_config('app.identity', '{juno_identity}', true); select name from playlist; commit

set app.identity = '{juno_identity}'
-- then
select name from playlist

begin; set local app.identity = '{juno_identity}'; select * from playlist; commit

select set_config('app.identity', '{juno}', false)
-- then
select name from playlist

select set_config('app.identity', '{juno}:', false)
-- then
select name from playlist

select set_config('app.identity', '{juno}:0000000000000000000000000000000000000000000000000000000000000000', false)
-- then
select name from playlist

select set_config('app.identity', '{juno}:' || split_part(current_setting('app.identity'), ':', 2), false)
-- then
select name, 'seen:' || owner_id from playlist

select set_config('app.identity', '{admin}:' || split_part(current_setting('app.identity'), ':', 2), false)
-- then
select first_name from app_user

select set_config('app.identity', replace(current_setting('app.identity'), '{own}:', '{juno}:'), false)
-- then
select 'seen:' || user_id from playback

select set_config('app.identity', '0' || current_setting('app.identity'), false)
-- then
select name from playlist

select set_config('app.identity', '', false)
-- then
select name from playlist

select set_config('app.identity', null, false)
-- then
select name from playlist

select set_config('app.identity', '{juno_identity}' || chr(10), false)
-- then
select name from playlist

select set_config('app.identity', '{juno_identity}', false)
-- then
select record_play(1)

select set_config('app.identity', '{juno_identity}', false)
-- then
update playlist set name = 'Forged' where owner_id = {juno}

select set_config('app.identity', '{juno_identity}', false)
-- then
insert into playlist (name) values ('Forged')

select set_config('app.identity', '{juno_identity}', false)
-- then
insert into user_genre (genre_id) values (7)

reset app.identity
-- then
select name from playlist

set app.identity to default
-- then
select name from playlist

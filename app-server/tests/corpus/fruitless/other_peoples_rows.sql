-- Reads and writes of another person's rows: they find none.

select name from playlist where owner_id = {juno}

select name from playlist

table playlist

select * from playlist where playlist_id = {juno_list}

select * from only playlist

select p.name from app_user u join playlist p on p.owner_id = u.user_id

select p.name from playlist p right join (select 1) one on true

select (select string_agg(name, ',') from playlist where owner_id = {juno})

select array(select name from playlist)

select json_agg(playlist) from playlist

select p::text from playlist p

select * from playlist_summary where owner_id = {juno}

select * from playlist_summary

select name from content full join playlist on false

select name::int from playlist where owner_id = {juno}

select 1 / (length(name) - length(name)) from playlist where owner_id = {juno}

select cast(name as date) from playlist

select name from playlist where owner_id = {juno} for key share

copy playlist to stdout

copy (select * from playlist) to stdout with (format csv)

copy playlist (name) to stdout

begin; declare c cursor for select name from playlist; fetch all from c; commit

prepare stored (bigint) as select name from playlist where owner_id = $1
-- then
execute stored({juno})

explain (analyze, verbose) select name from playlist where owner_id = {juno}

select most_common_vals from pg_stats where tablename = 'playlist'

select * from pg_stats where tablename in ('app_user', 'payment', 'payment_method', 'playback')

select first_name, last_name, email from app_user where user_id = {juno}

select first_name from app_user

select email from app_user where email like 'juno%'

select position from playlist_item where playlist_id = {juno_list}

select max(position) from playlist_item

select position, content_id from playlist_item join content using (content_id)

select played_at from playback where user_id = {juno}

select min(played_at) from playback

select 'seen:' || user_id from user_genre

select distinct 'seen:' || user_id from user_genre where user_id = {juno}

select 'seen:' || user_id from playback

select 'seen:' || owner_id from playlist

select 'seen:' || user_id from app_user

select started_at, valid_until from subscription where user_id = {juno}

select min(started_at) from subscription

select 'seen:' || user_id from subscription

select amount_cents from payment

select max(amount_cents) from payment join subscription using (subscription_id)

select last4, brand from payment_method where user_id = {juno}

select brand from payment_method where method_id = {juno_payment_method}

select string_agg(brand || last4, ',') from payment_method

update playlist set name = 'Forged' where owner_id = {juno}

update playlist set name = 'Forged' where playlist_id = {juno_list}

update playlist set name = 'Forged' from app_user where app_user.user_id = {juno} and owner_id = {juno} returning *

update playlist_item set position = 50 where playlist_id = {juno_list}

update playlist_item set position = position + 100 where playlist_id = {juno_list} returning *

update user_genre set genre_id = 9 where user_id = {juno}

with u as (update playlist set name = name || '!' where owner_id = {juno} returning name) select * from u

merge into playlist p using (select 1) s on p.owner_id = {juno} when matched then update set name = 'Forged'

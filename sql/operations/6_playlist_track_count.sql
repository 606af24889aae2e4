-- How many tracks a playlist has: the owner's e-mail, playlist name.
select name, track_count, total_duration_s
from playlist_summary
join app_user on app_user.user_id = playlist_summary.owner_id
where lower(app_user.email) = lower($1) and name = $2

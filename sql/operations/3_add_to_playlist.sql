-- Add a content to the end of a playlist: the owner's e-mail, playlist name, content title.
insert into playlist_item (playlist_id, content_id, position)
select playlist.playlist_id, content.content_id,
       coalesce((select max(position) from playlist_item i where i.playlist_id = playlist.playlist_id), 0) + 1
from playlist
join app_user on app_user.user_id = playlist.owner_id and lower(app_user.email) = lower($1)
join content on lower(content.title) = lower($3)
where playlist.name = $2
order by content.content_id
limit 1
returning playlist_id, content_id, position

-- How often a content was played: content title, artist. Several contents may match.
select content.content_id, content.title, content.play_count
from content
join content_artist using (content_id)
join artist using (artist_id)
where lower(content.title) = lower($1) and lower(artist.name) = lower($2)
order by content.content_id

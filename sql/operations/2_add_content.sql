-- Add a song or podcast: title, duration in seconds, content type, artist (added if new), genre (must exist).
with known_genre as (
    select genre_id from genre where lower(name) = lower($5)
), new_artist as (
    insert into artist (name) select $4 where not exists (select from artist where name = $4) returning artist_id
), the_artist as (
    select artist_id from new_artist union all select artist_id from artist where name = $4
), new_content as (
    insert into content (title, duration_s, content_type) select $1, $2, $3 from known_genre returning content_id
), artist_link as (
    insert into content_artist (content_id, artist_id) select content_id, artist_id from new_content, the_artist
), genre_link as (
    insert into content_genre (content_id, genre_id) select content_id, genre_id from new_content, known_genre
)
select content_id from new_content

-- How many tracks an album has: artist, album title.
select artist, title, track_count from album_summary where artist = $1 and title = $2

-- Find a content by its title, in any case.
select content_id, title, duration_s, content_type, play_count from content where lower(title) = lower($1)
order by content_id

-- Premium changes its own plays as it changes its own playlists and preferences: which content it was, never whose or when. The
-- trigger count_plays moves the play from one content's count to the other's.
grant update (content_id) on playback to tier_premium;

-- Sample data for an empty database: 6 users and an administrator, 10 contents, 11 playlists, and what belongs to them.
-- All names are invented, all addresses are of a reserved domain. Nobody can log in until a credential is stored:
-- select private.set_credential('free@example.com', 'SCRAM-SHA-256$4096:...')

insert into app_user (email, first_name, last_name, account_type, phone, tax_code) values
    ('free@example.com', 'Flora', 'Quill', 'free', '+39 055 0100001', 'QLLFLR90A41D612A'),
    ('wren@example.com', 'Wren', 'Halloway', 'free', '+39 055 0100002', 'HLLWRN85C10F205B'),
    ('otto@example.com', 'Otto', 'Brindle', 'free', null, null),
    ('premium@example.com', 'Petra', 'Marlow', 'free', '+39 055 0100003', 'MRLPTR88E52H501C'),
    ('juno@example.com', 'Juno', 'Castell', 'free', '+39 055 0100004', 'CSTJNU92L63L219D'),
    ('silas@example.com', 'Silas', 'Venn', 'free', null, 'VNNSLS79P15G273E'),
    ('admin@example.com', 'Ada', 'Keeper', 'admin', null, null);

insert into artist (name) values
    ('The Paper Lanterns'), ('Mira Solano'), ('Velvet Harbour'), ('North Attic'), ('Dario Fenn'),
    ('Glass Orchard'), ('Salt & Cedar'), ('Lena Okoro'), ('The Quiet Hour'), ('Field Notes Radio');

insert into album (artist_id, title, released_on)
select artist_id, title, released_on::date
from (values
    ('The Paper Lanterns', 'Night Market', '1995-03-14'), ('The Paper Lanterns', 'Rooftops', '1998-09-01'),
    ('Mira Solano', 'Azulejo', '2001-05-21'), ('Mira Solano', 'Low Tide', '2006-02-10'),
    ('Velvet Harbour', 'Foghorn', '1999-11-30'), ('Velvet Harbour', 'Second Pier', '2003-04-18'),
    ('North Attic', 'Dust and Beams', '2008-10-07'), ('North Attic', 'Skylight', '2012-01-25'),
    ('Dario Fenn', 'Tramlines', '2010-06-15'), ('Dario Fenn', 'Last Stop', '2014-08-29'),
    ('Glass Orchard', 'Greenhouse', '2016-03-03'), ('Salt & Cedar', 'Driftwood', '2017-07-12'),
    ('Lena Okoro', 'Harmattan', '2019-02-22'), ('Lena Okoro', 'Monsoon', '2021-09-17'),
    ('The Quiet Hour', 'Season One', '2020-01-06'), ('Field Notes Radio', 'Hedgerow Talks', '2022-05-02')
) as sample (artist, title, released_on)
join artist on artist.name = sample.artist;

insert into content (title, duration_s, content_type, album_id, track_no)
select sample.title, duration_s, content_type, album_id, 1
from (values
    ('Lantern Song', 206, 'song', 'Night Market'), ('Blue Tiles', 243, 'song', 'Azulejo'),
    ('Harbour Lights', 318, 'song', 'Foghorn'), ('Attic Window', 227, 'song', 'Skylight'),
    ('Line Nine', 262, 'song', 'Tramlines'), ('Glasshouse', 291, 'song', 'Greenhouse'),
    ('Cedar Smoke', 355, 'song', 'Driftwood'), ('Voices of the Dry Wind', 1804, 'podcast', 'Harmattan'),
    ('How to Sleep', 1520, 'podcast', 'Season One'), ('The Secret Life of Hedges', 2215, 'podcast', 'Hedgerow Talks')
) as sample (title, duration_s, content_type, album)
join album on album.title = sample.album;

insert into content_artist (content_id, artist_id)
select content_id, artist_id from content join album using (album_id);

insert into genre (name) values
    ('Folk'), ('Fado'), ('Dream pop'), ('Indie rock'), ('Electronic'), ('Ambient'), ('Country'), ('Documentary'),
    ('Wellness'), ('Nature');

insert into content_genre (content_id, genre_id)
select content_id, genre_id
from (values
    ('Lantern Song', 'Folk'), ('Blue Tiles', 'Fado'), ('Harbour Lights', 'Dream pop'), ('Attic Window', 'Indie rock'),
    ('Line Nine', 'Electronic'), ('Glasshouse', 'Ambient'), ('Cedar Smoke', 'Country'),
    ('Voices of the Dry Wind', 'Documentary'), ('How to Sleep', 'Wellness'), ('The Secret Life of Hedges', 'Nature')
) as sample (title, genre)
join content using (title)
join genre on genre.name = sample.genre;

insert into user_genre (user_id, genre_id)
select user_id, genre_id
from (values
    ('free@example.com', 'Folk'), ('wren@example.com', 'Ambient'), ('otto@example.com', 'Country'),
    ('premium@example.com', 'Fado'), ('juno@example.com', 'Electronic'), ('silas@example.com', 'Nature')
) as sample (email, genre)
join app_user using (email)
join genre on genre.name = sample.genre;

-- The payment makes its owner premium and sets how long that lasts.
insert into subscription (user_id, plan_code, started_at, valid_until)
select user_id, 'monthly', now() - interval '10 days', now() - interval '10 days'
from app_user where email in ('premium@example.com', 'juno@example.com', 'silas@example.com');

insert into payment_method (user_id, provider_token, brand, last4, exp_month, exp_year)
select user_id, 'tok_sample_' || split_part(email, '@', 1), brand, last4, exp_month, exp_year
from (values
    ('premium@example.com', 'visa', '4242', 6, 2029), ('juno@example.com', 'mastercard', '4444', 11, 2030),
    ('silas@example.com', 'visa', '1881', 2, 2031)
) as sample (email, brand, last4, exp_month, exp_year)
join app_user using (email);

insert into payment (subscription_id, method_id, amount_cents, paid_at)
select subscription_id, method_id, price_cents, started_at
from subscription
join plan on plan.code = subscription.plan_code
join payment_method using (user_id);

insert into playlist (owner_id, name)
select user_id, name
from (values
    ('premium@example.com', 'Morning'), ('premium@example.com', 'Commute'), ('premium@example.com', 'Focus'),
    ('premium@example.com', 'Evening'), ('juno@example.com', 'Morning'), ('juno@example.com', 'Running'),
    ('juno@example.com', 'Cooking'), ('juno@example.com', 'Sunday'), ('silas@example.com', 'Favourites'),
    ('silas@example.com', 'Long drives'), ('silas@example.com', 'Asleep')
) as sample (email, name)
join app_user using (email);

-- Six contents in each playlist: the ten in turn, each list starting one further.
insert into playlist_item (playlist_id, content_id, position)
select playlist_id, content_id, step + 1
from (select playlist_id, row_number() over (order by playlist_id) as nth from playlist) as list
cross join generate_series(0, 5) as step
join (select content_id, row_number() over (order by content_id) as nth from content) as track
  on track.nth = (list.nth + step) % 10 + 1;

insert into playback (user_id, content_id, played_at)
select user_id, content_id, now() - make_interval(days => days_ago)
from (values
    ('free@example.com', 'Lantern Song', 4), ('free@example.com', 'How to Sleep', 3),
    ('premium@example.com', 'Blue Tiles', 3), ('premium@example.com', 'Lantern Song', 2),
    ('silas@example.com', 'The Secret Life of Hedges', 1)
) as sample (email, title, days_ago)
join app_user using (email)
join content using (title);

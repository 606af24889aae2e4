-- The music platform: people, the catalogue, playlists, plays, subscriptions and payments.
-- Counts that can be computed are views. No password, card number or CVV has a column.

create table account_type (
    code text primary key
);
insert into account_type (code) values ('free'), ('premium'), ('admin');

create table app_user (
    user_id bigint generated always as identity primary key,
    email text not null check (email like '%_@_%' and length(email) <= 255),
    first_name text not null check (first_name <> ''),
    last_name text not null check (last_name <> ''),
    account_type text not null default 'free' references account_type,
    phone text check (phone ~ '^\+?[0-9 ]{5,20}$'),
    tax_code text unique check (tax_code ~ '^[A-Z0-9]{16}$'),
    is_active boolean not null default true,
    -- Written by each play: it is what makes two plays of one person wait for each other.
    last_played_at timestamptz,
    created_at timestamptz not null default now()
);
-- `Ann@Example.com` and `ann@example.com` are one person.
create unique index app_user_email on app_user (lower(email));

create table artist (
    artist_id bigint generated always as identity primary key,
    name text not null unique check (name <> '')
);

create table album (
    album_id bigint generated always as identity primary key,
    artist_id bigint not null references artist on delete cascade,
    title text not null check (title <> ''),
    released_on date,
    unique (artist_id, title)
);

create table content_type (
    code text primary key
);
insert into content_type (code) values ('song'), ('podcast');

create table content (
    content_id bigint generated always as identity primary key,
    title text not null check (title <> ''),
    duration_s int not null check (duration_s > 0),
    content_type text not null references content_type,
    album_id bigint references album,
    track_no int check (track_no > 0),
    play_count bigint not null default 0 check (play_count >= 0),
    unique (album_id, track_no),
    check (track_no is null or album_id is not null)
);
create index content_title on content (lower(title));

create table content_artist (
    content_id bigint not null references content on delete cascade,
    artist_id bigint not null references artist on delete cascade,
    primary key (content_id, artist_id)
);
create index content_artist_artist on content_artist (artist_id);

create table genre (
    genre_id bigint generated always as identity primary key,
    name text not null check (name <> '')
);
create unique index genre_name on genre (lower(name));

create table content_genre (
    content_id bigint not null references content on delete cascade,
    genre_id bigint not null references genre on delete cascade,
    primary key (content_id, genre_id)
);
create index content_genre_genre on content_genre (genre_id);

create table user_genre (
    user_id bigint not null references app_user on delete cascade,
    genre_id bigint not null references genre on delete cascade,
    primary key (user_id, genre_id)
);

create table playlist (
    playlist_id bigint generated always as identity primary key,
    owner_id bigint not null references app_user on delete cascade,
    name text not null check (name <> ''),
    created_at timestamptz not null default now(),
    unique (owner_id, name)
);

create table playlist_item (
    playlist_id bigint not null references playlist on delete cascade,
    content_id bigint not null references content on delete cascade,
    position int not null check (position > 0),
    added_at timestamptz not null default now(),
    primary key (playlist_id, content_id),
    unique (playlist_id, position) deferrable
);

create table playback (
    playback_id bigint generated always as identity primary key,
    user_id bigint not null references app_user on delete cascade,
    content_id bigint not null references content on delete cascade,
    played_at timestamptz not null default now()
);
create index playback_user on playback (user_id, played_at);
create index playback_content on playback (content_id);

create table plan (
    code text primary key,
    price_cents int not null check (price_cents > 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    period_days int not null check (period_days > 0)
);
insert into plan (code, price_cents, currency, period_days) values ('monthly', 1000, 'EUR', 31);

-- What was paid must be kept when an account is deleted: the person is forgotten, the payment is not.
create table subscription (
    subscription_id bigint generated always as identity primary key,
    user_id bigint references app_user on delete set null,
    plan_code text not null references plan,
    started_at timestamptz not null default now(),
    valid_until timestamptz not null default now(),
    status text not null default 'active' check (status in ('active', 'expired'))
);
create unique index subscription_one_active on subscription (user_id) where status = 'active';

create table payment_method (
    method_id bigint generated always as identity primary key,
    user_id bigint not null references app_user on delete cascade,
    provider_token text not null check (provider_token ~ '^tok_'),
    brand text not null,
    last4 text not null check (last4 ~ '^[0-9]{4}$'),
    exp_month int not null check (exp_month between 1 and 12),
    exp_year int not null check (exp_year between 2000 and 2100)
);

create table payment (
    payment_id bigint generated always as identity primary key,
    subscription_id bigint not null references subscription,
    method_id bigint references payment_method on delete set null,
    amount_cents int not null check (amount_cents > 0),
    paid_at timestamptz not null default now()
);
create index payment_subscription on payment (subscription_id);

-- security_invoker: a view shows each person what the tables below it would.
create view album_summary with (security_invoker = true) as
select album.album_id, artist.name as artist, album.title, album.released_on,
       count(content.content_id) as track_count
from album
join artist using (artist_id)
left join content using (album_id)
group by album.album_id, artist.name;

create view playlist_summary with (security_invoker = true) as
select playlist.playlist_id, playlist.owner_id, playlist.name,
       count(content.content_id) as track_count,
       coalesce(sum(content.duration_s), 0) as total_duration_s
from playlist
left join playlist_item using (playlist_id)
left join content using (content_id)
group by playlist.playlist_id;

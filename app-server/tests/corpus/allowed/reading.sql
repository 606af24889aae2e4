-- What people, drivers and tools ask.

select 1

SELECT 1;

select title, duration_s from content order by title limit 5

select * from content

table content

values (1, 'a'), (2, 'b')

select count(*) from content where duration_s between 200 and 300

select title from content where title ilike '%song%' and content_type = 'song'

select title from content where title ~* '^l' or title similar to 'B%'

select title from content where content_id in (1, 2, 3) and album_id is not null

select title from content where (content_id, title) in ((1, 'Lantern Song'))

select distinct content_type from content order by 1 desc nulls last

select distinct on (content_type) * from content order by content_type, duration_s desc

select content_type, count(*), avg(duration_s)::numeric(10, 1) from content group by content_type having count(*) > 1

select content_type, count(*) from content group by rollup (content_type)

select content_type, count(*) from content group by grouping sets ((content_type), ())

select count(*) filter (where duration_s > 300), array_agg(title order by title) from content

select string_agg(title, ', ' order by title) from content

select percentile_cont(0.5) within group (order by duration_s) from content

select title, row_number() over (partition by content_type order by duration_s desc) from content

select title, lag(duration_s) over w from content window w as (order by content_id)

select title, sum(duration_s) over (order by content_id rows between 1 preceding and current row) from content

select c.title, a.name from content c join content_artist using (content_id) join artist a using (artist_id)

select c.title, al.title from content c left join album al on al.album_id = c.album_id

select a.name, count(ca.content_id) from artist a left join content_artist ca using (artist_id) group by a.name

select * from album_summary order by track_count desc, title fetch first 3 rows only

select title from content where exists (select from content_genre g where g.content_id = content.content_id)

select title from content where duration_s > (select avg(duration_s) from content)

select title from content where duration_s > all (select duration_s from content where content_type = 'song')

select title from content natural join content_genre limit 2

select * from content c cross join lateral (select c.duration_s / 60 as minutes) m

select title from content union select title from album order by 1

select title from content except all select title from album

with long as (select * from content where duration_s > 300) select count(*) from long

with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select sum(i) from n

with a as materialized (select 1 as x), b as (select x + 1 as y from a) select * from a, b

select * from content tablesample system (100)

select * from generate_series(1, 3) as s(i)

select * from unnest(array[1, 2], array['a', 'b']) with ordinality as u(a, b, n)

select case when duration_s > 600 then 'long' else 'short' end from content

select coalesce(null, 1), nullif(1, 1), greatest(1, 2), least(1, 2)

select extract(epoch from now()), date_trunc('day', now()), now() at time zone 'UTC'

select interval '1 day', date '2026-01-01', timestamp '2026-01-01 10:00', time '10:00'

select '{1,2}'::int[], (array[1, 2])[1], array[[1, 2], [3, 4]], 2 = any (array[1, 2])

select '{"a": 1}'::jsonb -> 'a', '{"a": 1}'::jsonb @> '{}', '[1]'::jsonb ->> 0

select jsonb_build_object('a', 1, 'b', array[1, 2]), to_jsonb(now())

select json_agg(c) from (select title from content limit 2) c

select E'it\'s', 'it''s', $$dollar$$, $tag$quoted$tag$, U.title from content U limit 1

select 'a' || 'b' || 1, upper('a'), substring('abc' from 2 for 1), position('b' in 'abc'), trim(both 'x' from 'xax')

select 1::text, cast('1' as int), '1'::numeric(10, 2), true::int

select 5 / 2, 5 % 2, 2 ^ 3, |/ 25.0, @ -5, 5 & 3, 5 | 3, ~5, 1 << 4

select null is null, true and not false, 1 is distinct from null, 'a' like 'a%' escape '!'

select row(1, 'a'), (1, 2) < (1, 3)

select md5('a'), encode(sha256('a'), 'hex'), length('abc'), repeat('x', 3), to_char(now(), 'YYYY')

select to_tsvector('english', title) @@ plainto_tsquery('lantern') from content

select current_user, session_user, current_database(), current_schema, version()

select pg_typeof(1), pg_column_size('a'::text), pg_relation_size('content')

select * from information_schema.columns where table_name = 'content'

select table_name from information_schema.tables where table_schema = 'public'

select n.nspname, c.relname from pg_catalog.pg_class c join pg_namespace n on n.oid = c.relnamespace where relkind = 'r'

select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'content'::regclass and attnum > 0

select 'content'::regclass::oid, 'record_play(bigint)'::regprocedure

select t.oid, t.typname, t.typelem from pg_catalog.pg_type t left join pg_range r on r.rngtypid = t.oid

select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'content'::regclass

select current_setting('server_version'), current_setting('app.identity', true) is not null

select user_id, email, first_name, account_type from app_user

select * from playlist

select * from playlist_summary

select p.name, i.position, c.title from playlist p join playlist_item i using (playlist_id) join content c using (content_id)

select * from user_genre

select count(*) from playback

select * from subscription

select * from payment

select brand, last4 from payment_method

explain select * from content

explain (analyze, buffers, format json) select count(*) from content

explain verbose select title from content where content_id = 1

copy content to stdout

copy content (title) to stdout with (format csv, header)

copy (select title from content order by 1) to stdout with delimiter ';'

-- a statement after a comment, not a comment alone
select 1 /* nested /* comment */ here */

select /*+ a hint that nobody follows */ 1

select 'pg_stat_activity', 'drop table content', 'delete from content; --'

select "title" from "content" where "content_id" = 1

select title as "Title; drop table content" from content

select 1; select 2; select 3

select 1 where false

select record_play(1)

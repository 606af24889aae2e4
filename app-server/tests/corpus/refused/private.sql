-- Credentials, keys, and columns that nobody needs.

select * from private.credential

select verifier from private.credential where user_id = {own}

select count(*) from private.credential

select * from private.identity_key

select encode(key, 'hex') from private.identity_key

select * from private.tier_login

table private.tier_login

copy private.credential to stdout

copy (select * from private.identity_key) to stdout

select c from private.credential c

select row_to_json(c) from private.credential c

select private.hmac_sha256('a', 'b')

select private.identity_key_proof('nonce')

select * from private.find_login('admin@example.com')

select private.find_login('premium@example.com')

select private.set_identity_key('AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=')

select private.set_credential('admin@example.com', 'SCRAM-SHA-256$4096:AAAA$AAAA:AAAA')

select private.set_tier_login('tier_admin', 'SCRAM-SHA-256$4096:AAAA')

select private.restore_tier_login('tier_free')

select private.current_account()

insert into private.credential (user_id, verifier) values ({own}, 'x')

update private.credential set locked_until = null

delete from private.tier_login

select expire_subscriptions('2999-01-01')

select public.expire_subscriptions(now() + interval '100 years')

select tax_code from app_user

select phone from app_user

select * from app_user

select app_user from app_user

select row_to_json(u) from app_user u

select u.* from app_user u

select to_jsonb(app_user.*) from app_user

select count(tax_code) from app_user

select 1 from app_user where tax_code like 'A%'

select 1 from app_user order by phone

select last_played_at, is_active from app_user

select provider_token from payment_method

select * from payment_method

select m from payment_method m

select 1 from payment_method where provider_token > 'a'

copy payment_method to stdout

copy app_user (email, tax_code) to stdout

update app_user set account_type = 'admin'

update app_user set account_type = 'premium' where user_id = {own}

update app_user set email = 'x@example.com' where user_id = {own}

insert into app_user (email, first_name, last_name) values ('x@example.com', 'X', 'Y')

insert into payment (subscription_id, amount_cents) values (1, 1)

insert into payment (subscription_id, amount_cents) select subscription_id, 1000 from subscription where user_id = {own}

insert into subscription (user_id, plan_code) values ({own}, 'monthly')

update subscription set valid_until = '2999-01-01'

update plan set price_cents = 1

insert into payment_method (user_id, provider_token, brand, last4, exp_month, exp_year) values ({own}, 'tok_x', 'v', '1111', 1, 2030)

update content set play_count = 99

insert into content (title, duration_s, content_type, play_count) values ('Forged', 1, 'song', 99)

update playback set played_at = now()

insert into playback (user_id, content_id, played_at) values ({own}, 1, '2020-01-01')

insert into account_type (code) values ('root')

insert into content_type (code) values ('film')

insert into genre (name) values ('Forged')

insert into album (artist_id, title) values (1, 'Forged')

update artist set name = 'Forged'

select nextval('content_content_id_seq')

select setval('content_content_id_seq', 1)

select setval('public.playlist_playlist_id_seq'::regclass, 1, false)

select last_value from content_content_id_seq

select * from pg_authid

select rolpassword from pg_catalog.pg_authid

select * from pg_shadow

select passwd from pg_shadow

select * from pg_user_mapping

select * from pg_statistic

select * from pg_subscription

update pg_authid set rolsuper = true

update pg_catalog.pg_class set relowner = 10

update pg_proc set prosecdef = false

delete from pg_catalog.pg_policy

insert into pg_db_role_setting values (0, 0, '{}')

update pg_database set datallowconn = false

insert into pg_catalog.pg_auth_members values (1, 2, 3, true)

-- Other people's statements and sessions.

select * from pg_stat_activity

select query from pg_stat_activity

select query from pg_catalog.pg_stat_activity

select query from PG_STAT_ACTIVITY

select query from "pg_stat_activity"

table pg_stat_activity

select a.query from pg_stat_activity as a, content

select (select string_agg(query, ' ') from pg_stat_activity)

copy (select query from pg_stat_activity) to stdout

select pg_stat_activity.query from pg_stat_activity

select * from pg_stat_get_activity(null)

select query from pg_stat_get_activity(null::int)

select pg_stat_get_backend_activity(1)

select pg_stat_get_backend_activity(i) from generate_series(1, 50) i

select pg_stat_get_backend_client_addr(1)

select pg_stat_get_backend_pid(1)

select * from pg_stat_statements

select * from pg_stat_statements(true)

select pg_terminate_backend(pid) from generate_series(1, 100) as pid

select pg_terminate_backend(pid) from pg_locks

select pg_catalog.pg_terminate_backend(1, 0)

select pg_cancel_backend(1)

select pg_cancel_backend(pid) from pg_locks

select pg_advisory_lock(1)

select pg_advisory_lock(1, 2)

select pg_advisory_xact_lock(1)

select pg_advisory_lock_shared(1)

select pg_try_advisory_lock(1)

select pg_try_advisory_xact_lock(1)

select pg_advisory_unlock_all()

notify news

notify news, 'from me'

select pg_notify('news', 'from me')

select pg_catalog.pg_notify('news', 'from me')

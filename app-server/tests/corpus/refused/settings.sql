-- Settings that say how statements are read, or that only an operator may change.

set standard_conforming_strings = off

set standard_conforming_strings to 'off'

set session standard_conforming_strings = off

set local standard_conforming_strings = off

set "standard_conforming_strings" = off

set backslash_quote = on

set escape_string_warning = off

set client_encoding to 'GBK'

set client_encoding = SJIS

set client_encoding to 'big5'

set client_encoding to 'JOHAB'

set client_encoding to 'GB18030'

set client_encoding to default

set names 'SJIS'

set names default

set names GBK

select set_config('client_encoding', 'GBK', false)

select set_config('standard_conforming_strings', 'off', false)

select set_config('backslash_quote', 'on', false)

select set_config('statement_timeout', '1', false)

select set_config('idle_in_transaction_session_timeout', '0', false)

select set_config('lock_timeout', '1', false)

select set_config(name, setting, false) from pg_settings

update pg_settings set setting = 'off' where name = 'standard_conforming_strings'

update pg_settings set setting = '0' where name = 'statement_timeout'

set log_statement = 'none'

set log_min_messages = panic

set track_activities = on

set temp_file_limit = -1

set session_replication_role = replica

set zero_damaged_pages = on

set allow_system_table_mods = on

set ignore_system_indexes = on

set log_connections = off

set max_connections = 1000

set shared_buffers = '1GB'

set ssl = off

set wal_level = minimal

set fsync = off

set lc_messages = 'it_IT'

set dynamic_library_path = '/tmp'

set role none; set session authorization default; delete from content

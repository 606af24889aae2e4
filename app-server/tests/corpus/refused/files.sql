-- The server's files, programs, libraries and network.

copy content to program 'cat'

copy content from program 'cat'

copy content (title, duration_s, content_type) from program 'echo a'

copy (select 1) to program 'id > /tmp/stolen'

copy (select 1) to '/tmp/stolen'

copy content to '/tmp/stolen' with (format csv)

copy content (title, duration_s, content_type) from '/etc/passwd'

copy content(title) from '/etc/passwd' with (format text)

select pg_read_file('/etc/passwd')

select pg_read_file('PG_VERSION')

select pg_read_file('postgresql.conf', 0, 100)

select pg_read_file('/etc/passwd', true)

select pg_read_binary_file('/etc/passwd')

select encode(pg_catalog.pg_read_binary_file('PG_VERSION'), 'escape')

select pg_ls_dir('/')

select * from pg_ls_dir('.')

select * from pg_ls_logdir()

select * from pg_ls_waldir()

select * from pg_ls_archive_statusdir()

select * from pg_ls_tmpdir()

select * from pg_stat_file('/etc/passwd')

select pg_stat_file('PG_VERSION')

select pg_current_logfile()

select * from pg_hba_file_rules

select * from pg_file_settings

select * from pg_config

load 'plpgsql'

load '/tmp/stolen.so'

load '$libdir/plugins/x'

alter system set work_mem = '1MB'

alter system set archive_command = 'id'

alter system reset all

set session_preload_libraries = 'x'

set log_directory = '/tmp'

set archive_command = 'id'

set temp_tablespaces = 'x'; create temp table t (a int)

select pg_reload_conf()

select pg_rotate_logfile()

select pg_switch_wal()

select pg_create_restore_point('mine')

select pg_promote()

select pg_backup_start('mine')

select pg_start_backup('mine')

select * from pg_create_physical_replication_slot('mine')

select * from pg_create_logical_replication_slot('mine', 'test_decoding')

select pg_drop_replication_slot('mine')

select pg_replication_origin_create('mine')

select pg_export_snapshot() from pg_catalog.pg_ls_waldir()

select pg_log_backend_memory_contexts(1)

select * from dblink('host=127.0.0.1 dbname=music', 'select 1') as t(a int)

select dblink_connect('host=127.0.0.1')

select dblink_exec('delete from content')

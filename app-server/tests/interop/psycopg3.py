"""psycopg 3 against the query server. Arguments: port, CA file. The password is in PGPASSWORD."""

import sys
import threading
import time

import psycopg

CONNECTION = (
    f"host=127.0.0.1 port={sys.argv[1]} user=premium@example.com dbname=music "
    f"sslmode=verify-ca sslrootcert={sys.argv[2]} channel_binding=require"
)

with psycopg.connect(CONNECTION, prepare_threshold=0) as connection:
    assert connection.pgconn.ssl_in_use
    for number in range(20):
        row = connection.execute("select %s::int, count(*) from content", (number,)).fetchone()
        assert row == (number, 10), row
    connection.rollback()

    with connection.transaction():
        connection.execute("insert into playlist (name) values (%s)", ("Interop",))
    assert connection.execute("select count(*) from playlist").fetchone() == (5,)
    try:
        with connection.transaction():
            connection.execute("delete from content")
        raise SystemExit("premium has deleted")
    except psycopg.errors.InsufficientPrivilege as denied:
        assert "`premium`" in denied.diag.message_hint, denied.diag.message_hint

    with connection.pipeline(), connection.cursor() as cursor:
        cursors = [connection.execute("select %s::text", (str(number),)) for number in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [str(number) for number in range(50)]

    with connection.cursor() as cursor:
        cursor.executemany("insert into artist (name) values (%s)", [(f"artist {number}",) for number in range(100)])
        with cursor.copy("copy artist (name) from stdin") as copy:
            for number in range(1000):
                copy.write_row((f"copied {number}",))
        with cursor.copy("copy (select name from artist where name like 'copied%') to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 1000

    with connection.cursor("by_portal") as cursor:
        cursor.itersize = 100
        cursor.execute("select i from generate_series(1, 1000) as i")
        assert sum(row[0] for row in cursor) == 500500
    connection.rollback()

    cancelled = threading.Thread(target=lambda: (time.sleep(0.3), connection.cancel()))
    cancelled.start()
    try:
        connection.execute("select pg_sleep(20)")
        raise SystemExit("the cancel did nothing")
    except psycopg.errors.QueryCanceled:
        connection.rollback()
    cancelled.join()
    assert connection.execute("select 1").fetchone() == (1,)

print("psycopg", psycopg.__version__)

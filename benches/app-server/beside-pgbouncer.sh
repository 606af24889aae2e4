#!/usr/bin/env bash
# app-server beside PgBouncer and the database itself, in one run on one machine: ratios are what counts.
#
#   benches/app-server/beside-pgbouncer.sh path/to/release/app-server
#
# Starts a PostgreSQL of its own with the migrations and the sample data, and both servers in transaction mode with 16 database
# sessions, all on loopback in clear text; app-server writes its audit. An admin's statements pass no allow-list, a premium person's do.
# Needs: postgresql (initdb, pgbench), pgbouncer. Environment: SECONDS_EACH [3], ROUNDS [2], CLIENTS ["1 16 64"],
# TESTS ["simple prepared rows connect"], PERSON [admin@example.com].
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-3} rounds=${ROUNDS:-2} clients=${CLIENTS:-1 16 64}
tests=${TESTS:-simple prepared rows connect} person=${PERSON:-admin@example.com}
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
PATH=${programs:-}:$PATH
folder=$(mktemp -d /tmp/app-server-bench.XXXXXX)
chmod 755 "$folder"
as=()
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL and PgBouncer refuse to run as root.
    chown postgres "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
started=()
trap 'kill "${started[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_ready() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not ready: $*" >&2; exit 1; }

database=$(port) bouncer=$(port) server=$(port)
"${as[@]}" initdb -A trust -U postgres -E UTF8 --no-sync -D "$folder/data" >/dev/null
printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' | "${as[@]}" tee "$folder/data/pg_hba.conf" >/dev/null
"${as[@]}" postgres -D "$folder/data" -c port="$database" -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=150 \
    -c unix_socket_directories="$folder/data" 2>"$folder/postgres.log" &
started+=($!)
owner() { "${as[@]}" psql -XqAt -v ON_ERROR_STOP=1 -h "$folder/data" -p "$database" -U "$@"; }
until_ready owner postgres -c 'select 1' postgres
owner postgres -c 'create role music_owner login createrole createdb' postgres
owner postgres -c 'create database music owner music_owner' postgres
for file in sql/migrations/*.sql sql/sample.sql; do owner music_owner -1 -f - music <"$file" >/dev/null; done
owner postgres -c "create role verifier password 'bench'" postgres
verifier=$(owner postgres -c "select rolpassword from pg_authid where rolname = 'verifier'" postgres)
for role in tier_free tier_premium tier_admin app_auth; do
    owner music_owner -c "select private.set_tier_login('$role', '$verifier')" music >/dev/null
done
key=$(head -c 32 /dev/zero | base64)
owner music_owner -c "select private.set_identity_key('$key')" music >/dev/null
owner music_owner -c "select private.set_credential('$person', '$verifier')" music >/dev/null

cat >"$folder/pgbouncer.ini" <<INI
[databases]
music = host=127.0.0.1 port=$database dbname=music
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $folder/users.txt
pool_mode = transaction
default_pool_size = 16
max_client_conn = 1000
log_connections = 0
log_disconnections = 0
INI
echo '"tier_admin" "bench"' >"$folder/users.txt"
"${as[@]}" "${PGBOUNCER:-$(command -v pgbouncer || echo /usr/sbin/pgbouncer)}" -q "$folder/pgbouncer.ini" 2>"$folder/pgbouncer.log" &
started+=($!)
bouncer_process=$!
env -i LISTEN=127.0.0.1:"$server" DATABASE_URL=postgres://127.0.0.1:"$database"/music APP_AUTH_PASSWORD=bench \
    TIER_FREE_PASSWORD=bench TIER_PREMIUM_PASSWORD=bench TIER_ADMIN_PASSWORD=bench IDENTITY_KEY="$key" \
    POOL_SIZE=16 ACCOUNT_SESSIONS=1000 PREMIUM_STATEMENTS_PER_S=1000000000 AUDIT_FILE="$folder/audit.log" "$program" >"$folder/server.log" &
started+=($!)
server_process=$!
export PGPASSWORD=bench PGSSLMODE=disable
until_ready psql -X -h 127.0.0.1 -p "$bouncer" -U tier_admin -c 'select 1' music
until_ready psql -X -h 127.0.0.1 -p "$server" -U "$person" -c 'select 1' music

echo 'select title, duration_s from content where content_id = 1;' >"$folder/statement.sql"
echo "select i, 'a row of some forty bytes, like most are' from generate_series(1, 100000) as i;" >"$folder/rows.sql"
ticks=$(getconf CLK_TCK)
cpu() { if [ "$1" = - ]; then echo 0; else awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; fi; }
# Test, clients, name, port, user, process, arguments of pgbench: one line of results.
measure() {
    local test=$1 count=$2 name=$3 at=$4 user=$5 process=$6 before after report
    shift 6
    before=$(cpu "$process")
    report=$(pgbench -n -h 127.0.0.1 -p "$at" -U "$user" -c "$count" -j 2 -T "$seconds" "$@" music 2>&1) || { echo "$test, $count, $name: $(grep -m 1 error <<<"$report")" >&2; return 1; }
    after=$(cpu "$process")
    awk -v test="$test" -v count="$count" -v name="$name" -v ticks="$((after - before))" -v hertz="$ticks" '
        /transactions actually processed/ { split($0, part, ": "); done = part[2] + 0 }
        /^tps/ { tps = $3 }
        END { printf "%s,%d,%s,%.0f,%.1f\n", test, count, name, tps, done ? ticks * 1e6 / hertz / done : 0 }' <<<"$report"
}
for _ in $(seq "$rounds"); do
    for test in $tests; do
        counts=$clients
        arguments=(-M "$test" -f "$folder/statement.sql")
        case $test in
        rows) counts=1 arguments=(-f "$folder/rows.sql") ;;
        connect) counts=16 arguments=(-C -f "$folder/statement.sql") ;;
        esac
        for count in $counts; do
            measure "$test" "$count" database "$database" tier_admin - "${arguments[@]}"
            # Before 1.21 PgBouncer knows no prepared statements in transaction mode.
            measure "$test" "$count" pgbouncer "$bouncer" tier_admin "$bouncer_process" "${arguments[@]}" || true
            measure "$test" "$count" app-server "$server" "$person" "$server_process" "${arguments[@]}"
        done
    done
done | tee "$folder/raw.csv" >&2
python3 - "$folder/raw.csv" <<'PYTHON'
import collections, csv, statistics, sys
cells = collections.defaultdict(list)
for test, clients, name, tps, cpu in csv.reader(open(sys.argv[1])):
    cells[test, int(clients), name].append((float(tps), float(cpu)))
median = lambda key, column: statistics.median(value[column] for value in cells[key]) if key in cells else float("nan")
print("| test | clients | database, per s | PgBouncer, ratio; CPU us | app-server, ratio; CPU us | CPU, app-server to PgBouncer |")
print("|---|---|---|---|---|---|")
for test, clients in dict.fromkeys(key[:2] for key in cells):
    base = median((test, clients, "database"), 0)
    cell = {name: (median((test, clients, name), 0) / base, median((test, clients, name), 1)) for name in ("pgbouncer", "app-server")}
    shown = ["failed" if ratio != ratio else f"{ratio:.2f}; {cpu:.1f}" for ratio, cpu in cell.values()]
    relation = cell["app-server"][1] / cell["pgbouncer"][1] if cell["pgbouncer"][1] else float("nan")
    print(f"| {test} | {clients} | {base:.0f} | {shown[0]} | {shown[1]} | {relation:.2f} |")
PYTHON

#!/usr/bin/env bash
# app-server beside PgBouncer and the database itself, in one run on one machine: ratios are what counts.
#
#   benches/app-server/beside-pgbouncer.sh path/to/release/app-server [another ..]
#
# Starts a PostgreSQL of its own with the migrations and the sample data, and the servers in transaction mode, all on loopback in
# clear text; app-server writes its audit. An admin's statements pass no allow-list, a premium person's do. `measure.py` says how it
# is measured. Needs: postgresql (initdb, pgbench), pgbouncer, python3.
# Environment: SECONDS_EACH [1], ROUNDS [7], CLIENTS ["1 16 64"], TESTS ["simple prepared rows connect idle"], SESSIONS [16] with the
# database, MODE [transaction], PERSON [admin@example.com], PGBOUNCER [pgbouncer].
set -euo pipefail
mapfile -t programs < <(realpath "$@")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
sessions=${SESSIONS:-16} mode=${MODE:-transaction} person=${PERSON:-admin@example.com}
PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1):$PATH
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

database=$(port) bouncer=$(port)
"${as[@]}" initdb -A trust -U postgres -E UTF8 --no-sync -D "$folder/data" >/dev/null
printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' | "${as[@]}" tee "$folder/data/pg_hba.conf" >/dev/null
"${as[@]}" postgres -D "$folder/data" -c port="$database" -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=400 \
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
pool_mode = $mode
default_pool_size = $sessions
max_client_conn = 10000
log_connections = 0
log_disconnections = 0
INI
# A verifier, as app-server has: from a password PgBouncer derives the keys at every login.
echo "\"tier_admin\" \"$verifier\"" >"$folder/users.txt"
"${as[@]}" "${PGBOUNCER:-$(command -v pgbouncer || echo /usr/sbin/pgbouncer)}" -q "$folder/pgbouncer.ini" 2>"$folder/pgbouncer.log" &
started+=($!)
bouncer_process=$!
servers=() server_processes=()
for program in "${programs[@]}"; do
    server=$(port) name=$(basename "$program")
    env -i LISTEN=127.0.0.1:"$server" DATABASE_URL=postgres://127.0.0.1:"$database"/music APP_AUTH_PASSWORD=bench \
        TIER_FREE_PASSWORD=bench TIER_PREMIUM_PASSWORD=bench TIER_ADMIN_PASSWORD=bench IDENTITY_KEY="$key" POOL_MODE="$mode" \
        POOL_SIZE="$sessions" ACCOUNT_SESSIONS=10000 ADDRESS_CONNECTIONS=10000 PREMIUM_STATEMENTS_PER_S=1000000000 \
        AUDIT_FILE="$folder/$name.audit" "$program" >"$folder/$name.log" &
    started+=($!) server_processes+=($!) servers+=("$name=$server")
done
export PGPASSWORD=bench PGSSLMODE=disable
until_ready psql -X -h 127.0.0.1 -p "$bouncer" -U tier_admin -c 'select 1' music
for server in "${servers[@]}"; do until_ready psql -X -h 127.0.0.1 -p "${server#*=}" -U "$person" -c 'select 1' music; done

echo 'select title, duration_s from content where content_id = 1;' >"$folder/statement.sql"
echo "select i, 'a row of some forty bytes, like most are' from generate_series(1, 100000) as i;" >"$folder/rows.sql"
targets=(database="$database":tier_admin: pgbouncer="$bouncer":tier_admin:"$bouncer_process")
for place in "${!servers[@]}"; do targets+=("${servers[$place]}:$person:${server_processes[$place]}"); done
python3 "$here/measure.py" "$folder" "${targets[@]}"

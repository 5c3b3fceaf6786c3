#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: drivers of databases, on small pools under many requests at a time. A connection of theirs outlives the request that
# opened it, and its answers belong to others: lines around an await have their ids, lines in a driver's callbacks have theirs or
# none. The servers are the real ones, private instances on sockets in the test's folder.

load servers
load node

setup_file() {
    node_setup_file
}

setup() {
    node_setup
    export DB_USER=traceshim
    db=$tmp/db
    mkdir "$db"
}

teardown() {
    servers_teardown
}

# as_user NAME: servers that refuse to be root's run as their package's user, by the command "${as[@]}"
as_user() {
    as=(env)
    if [ "$(id -u)" -eq 0 ]; then
        as=(setpriv --reuid="$1" --regid="$1" --clear-groups -- env)
        chown "$1" "$db"
    fi
}

# ready COMMAND...: until it succeeds
ready() {
    local tries=$WAIT_TRIES
    until "$@" >"$tmp/ready" 2>&1; do
        if [ $((tries--)) -le 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$tmp/ready" "$tmp"/db.*
            return 1
        fi
        sleep 0.05
    done
}

start_postgres() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    as_user postgres
    (cd "$db" && "${as[@]}" "$bin/initdb" --no-sync --auth=trust --username="$DB_USER" --pgdata="$db/data" >"$tmp/initdb" 2>&1)
    shim='' start db "${as[@]}" "$bin/postgres" -D "$db/data" -k "$db" -c listen_addresses= -c fsync=off
    export PG_SOCKET=$db
    ready "$bin/pg_isready" -h "$db" -U "$DB_USER" -d postgres
}

start_mysql() {
    as_user mysql
    export MYSQL_SOCKET=$db/socket
    mariadb-install-db --no-defaults ${as[1]:+--user=mysql} --auth-root-authentication-method=normal --skip-test-db \
        --datadir="$db/data" >"$tmp/install" 2>&1
    printf '%s\n' "create user $DB_USER@localhost;" "grant all on *.* to $DB_USER@localhost;" >"$tmp/init.sql"
    shim='' start db "${as[@]}" mariadbd --no-defaults --datadir="$db/data" --socket="$MYSQL_SOCKET" --skip-networking \
        --pid-file="$db/pid" --innodb-flush-log-at-trx-commit=0 --init-file="$tmp/init.sql"
    ready mariadb --no-defaults --socket="$MYSQL_SOCKET" --user="$DB_USER" --execute 'select 1'
}

start_redis() {
    export REDIS_SOCKET=$db/socket
    shim='' start db redis-server --port 0 --unixsocket "$REDIS_SOCKET" --save '' --dir "$db"
    ready redis-cli -s "$REDIS_SOCKET" ping
}

# queried STYLE LINES: lines of awaits are on standard output, lines of callbacks on standard error
queried() {
    echo "--- $1"
    node_serves drivers.js "$1"
    burst "$url" --requests 300 --connections 50 --numbered
    burst "$url" --first 301 --requests 40 --connections 1 --numbered
    stop "$guest"
    count "$tmp/guest.log" --requests 340 --lines "$2"
    count "$tmp/guest.err" --none any
    # The answers were the requests' own.
    lacks -hE 'first [^t]|second false' "$tmp"/guest.{log,err}
    again
}

@test "pg: awaits have their ids, callbacks never another's" {
    start_postgres
    queried pg-promise 4
    queried pg-callback 1
    queried pg-both-promise 4
}

@test "mysql2: awaits have their ids, callbacks never another's" {
    start_mysql
    queried mysql-promise 4
    queried mysql-callback 1
    queried mysql-both-promise 4
}

@test "ioredis: awaits have their ids, callbacks never another's" {
    start_redis
    queried redis-promise 4
    queried redis-callback 1
}

@test "Node 24: pg's pool by promise and by callback" {
    with_node 24
    start_postgres
    queried pg-promise 4
    queried pg-callback 1
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# FastCGI and uwsgi, both sides: web servers that hand requests to php-fpm, to programs with libfcgi's code and to uWSGI. Servers
# and clients are real; what each got is looked at by the numbers in the requests.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port
    mkdir -m 1777 "$tmp/log"
    settings+=(TRACESHIM_LOG_FILES="$tmp/log/*.log" TRACESHIM_EXPORT=traces)
    up='' fastcgi=unix:$tmp/fpm.sock uwsgi=unix:$tmp/uwsgi.sock children=8
    cp -R "$apps/fastcgi" "$tmp/pages" # where a server that changed its user may read it
}

teardown() {
    servers_teardown
}

nginx_serves() {
    fill "$apps/fastcgi/nginx.conf.in" DIR="$tmp" PORT="$port" FASTCGI="$fastcgi" UWSGI="$uwsgi" UP="$up" \
        SCRIPT="$tmp/pages/page.php" PARAMS=/etc/nginx >"$tmp/nginx.conf"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
}

# until_there SOCKET: a path, or unix:PATH, or ADDRESS:PORT is listened on
until_there() {
    local tries=$WAIT_TRIES
    until /usr/bin/python3 - "${1#unix:}" <<'PY' 2>/dev/null
import socket, sys
at = sys.argv[1]
if at.startswith("/"):
    socket.socket(socket.AF_UNIX).connect(at)
else:
    socket.create_connection(("127.0.0.1", int(at.rpartition(":")[2])))
PY
    do
        [ $((tries--)) -gt 0 ] || return 1
        sleep 0.025
    done
}

fpm_serves() {
    local user='' name
    [ "$(id -u)" != 0 ] || user=$'user = www-data\ngroup = www-data'
    fill "$apps/fastcgi/fpm.conf.in" DIR="$tmp" USER="@" LISTEN="${fastcgi#unix:}" CHILDREN="$children" \
        ERRORS="${1:-$tmp/log/errors.log}" >"$tmp/fpm.conf"
    sed -i "s|^@\$|${user//$'\n'/\\n}|" "$tmp/fpm.conf"
    name=$(compgen -c php-fpm | head -n 1)
    start fpm "$name" -F -R -y "$tmp/fpm.conf"
    until_there "$fastcgi"
}

spawn_serves() {
    settings+=(PAGE_LOG="$tmp/log/page.log")
    start spawn spawn-fcgi -n -s "${fastcgi#unix:}" -M 0666 -- /usr/bin/perl "$tmp/pages/page.pl"
    until_there "$fastcgi"
}

# uwsgi_serves [OPTION]...
uwsgi_serves() {
    settings+=(UP="$up")
    start uwsgi uwsgi --socket "${uwsgi#unix:}" --chmod-socket=666 --plugin python3 --wsgi-file "$tmp/pages/page.py" \
        --need-app --die-on-term --master "$@"
    until_there "$uwsgi"
}

rings() {
    /usr/bin/python3 "$here/rings.py" "$tmp/run" "$@"
}

# has_spans FILTER WANTED: as many come, and not more
has_spans() {
    local tries=80 found
    while found=$(rings | jq -s "[.[] | select(.what == \"span\" and ($1))] | length") && [ "$found" -lt "$2" ] &&
        [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    echo "$1: $found, wanted $2"
    [ "$found" -eq "$2" ]
}

@test "nginx and php-fpm: every line of both has its request's id, and the page's call goes on with it" {
    start_upstream
    fpm_serves
    nginx_serves
    burst "$url/plain" --requests 200 --connections 6 --numbered
    burst "$url/kept" --first 201 --requests 200 --connections 6 --numbered
    count "$tmp/nginx.log" --requests 400 --lines 1
    count "$tmp/log/errors.log" --requests 400 --lines 1
    count "$tmp/log/access.log" --requests 400 --lines 1
    calls --requests 400
    counted calls_own_headers 400
    undegraded
}

@test "nginx and php-fpm: without a header of the client's, one trace a request, joined by the params of ours" {
    fpm_serves
    nginx_serves
    burst "$url/renamed" --requests 300 --connections 6 --numbered
    count "$tmp/nginx.log" "$tmp/log/errors.log" "$tmp/log/access.log" --requests 300 --lines 3
    counted calls_injected 300
    has_spans '.kind == "client"' 300
    has_spans '.kind == "server"' 600
    rings join 300
    undegraded
}

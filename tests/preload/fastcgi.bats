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

@test "nginx and php-fpm: every line of both has its request's id, and the page's call goes on with it" {
    start_upstream
    fpm_serves
    nginx_serves
    burst "$url/plain" --requests 200 --connections 6 --numbered
    burst "$url/kept" --first 201 --requests 200 --connections 6 --numbered
    count "$tmp/nginx.log" --requests 400 --lines 1
    count "$tmp/log/errors.log" --requests 400 --lines 1
    count "$tmp/log/access.log" --requests 400 --lines 1
    # What a child writes to stderr comes to the master's log, by a pipe: the master works for nobody.
    count "$tmp/fpm.err" --requests 400 --lines 1 --none 400 --all-none
    calls --requests 400
    counted calls_own_headers 400
    counted requests_cgi 400
    counted calls_cgi 400
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

@test "nginx and php-fpm by TCP, bodies in, large answers and errors out: the same bare and preloaded" {
    fastcgi=127.0.0.1:$(free_port)
    for shim in '' "$object"; do
        fpm_serves
        nginx_serves
        burst "$url/kept" --requests 40 --connections 4 --method POST --body 300000 --save "$tmp/posted.${shim:+preloaded}"
        burst "$url/plain/big" --requests 20 --connections 4 --save "$tmp/big.${shim:+preloaded}"
        burst "$url/renamed/status503" --requests 20 --connections 4 --status 503 --save "$tmp/bad.${shim:+preloaded}"
        stop "${started[0]}"
        stop "${started[1]}"
        started=()
    done
    for name in posted big bad; do
        [ -s "$tmp/$name." ]
        cmp "$tmp/$name." "$tmp/$name.preloaded"
    done
    has_spans '.kind == "server" and .program == "php-fpm8.2"' 80
    has_spans '.kind == "server" and .program == "php-fpm8.2" and .method == "POST" and .bytes_in > 300000' 40
    has_spans '.kind == "server" and .program == "php-fpm8.2" and .bytes_out > 400000' 20
    has_spans '.status == 503' 60
    # https by the variable; the client is the web server's; what carries variables is no version of HTTP.
    has_spans '.kind == "server" and .program == "php-fpm8.2" and (.flags / 16 | floor) % 2 == 1 and .status == 503' 20
    has_spans '.program == "php-fpm8.2" and .forwarded == "127.0.0.1" and .host == "test.example" and .version == 0' 80
}

@test "what a page writes to its web server is that request's line there" {
    fpm_serves /dev/null
    sed -i '/error_log.*null/d' "$tmp/fpm.conf"
    stop "$pid"
    start fpm "$(compgen -c php-fpm | head -n 1)" -F -R -y "$tmp/fpm.conf"
    until_there "$fastcgi"
    nginx_serves
    burst "$url/plain" --requests 100 --connections 6 --numbered
    until_lines 100 "$tmp/nginx.err"
    [ "$(grep -c 'FastCGI sent in stderr' "$tmp/nginx.err")" -eq 100 ]
    count "$tmp/nginx.err" --requests 100 --lines 1
    undegraded
}

apache_serves() {
    local user=''
    [ "$(id -u)" != 0 ] || user='User www-data\nGroup www-data'
    fill "$apps/fastcgi/apache.conf.in" DIR="$tmp" PORT="$port" MODULES=/usr/lib/apache2/modules UP="$up" USER="$user" \
        SCRIPT="$tmp/pages/page.php" FASTCGI="unix:${fastcgi#unix:}\\|fcgi://localhost/" \
        UWSGI="unix:${uwsgi#unix:}\\|uwsgi://localhost/" >"$tmp/apache.conf"
    serve apache "$port" apache2 -D FOREGROUND -f "$tmp/apache.conf"
}

@test "Apache and php-fpm: its records are cut otherwise, and join as well" {
    start_upstream
    children=16
    fpm_serves
    apache_serves
    burst "$url/renamed" --requests 200 --connections 8 --numbered
    burst "$url/plain" --first 201 --requests 100 --connections 8 --method POST --body 20000 --numbered
    count "$tmp/apache.log" "$tmp/log/errors.log" --requests 300 --lines 2
    calls --requests 300
    counted calls_injected 500 # Apache's of the first 200, and the pages' own
    counted calls_own_headers 100
    has_spans '.kind == "client" and .program == "apache2"' 200
    rings join 200
    undegraded
}

@test "lighttpd and php-fpm" {
    fpm_serves
    fill "$apps/fastcgi/lighttpd.conf.in" DIR="$tmp" PORT="$port" SCRIPT="$tmp/pages/page.php" FASTCGI="${fastcgi#unix:}" \
        >"$tmp/lighttpd.conf"
    serve lighttpd "$port" lighttpd -D -f "$tmp/lighttpd.conf"
    burst "$url/renamed" --requests 50 --connections 1 --numbered
    burst "$url/renamed" --first 51 --requests 50 --connections 6 --numbered
    burst "$url/plain" --first 101 --requests 100 --connections 6 --numbered
    # A call is known only where nothing else was queued in the loop, as of those that come alone: without it the page's ids are its own.
    jq -c 'select(.trace_id | startswith("7e57"))' "$tmp/log/errors.log" >"$tmp/joined"
    count "$tmp/joined" --requests 200 --none any --least-right 110
    [ "$(wc -l <"$tmp/log/errors.log")" -eq 200 ]
    undegraded
}

@test "spawn-fcgi and Perl: lines of the program have their request's id" {
    spawn_serves
    nginx_serves
    burst "$url/plain" --requests 100 --connections 4 --status 202 --numbered
    burst "$url/renamed" --first 101 --requests 100 --connections 1 --status 202 --numbered
    count "$tmp/log/page.log" --requests 200 --lines 1
    count "$tmp/nginx.err" --requests 200 --lines 1
    has_spans '.kind == "server" and .status == 202' 400
    undegraded
}

@test "nginx and uWSGI: lines, calls and spans of both sides, and the same answers bare" {
    start_upstream
    for shim in '' "$object"; do
        uwsgi_serves --processes 2
        nginx_serves
        burst "$url/uwsgi" --requests 100 --connections 6 --save "$tmp/answers.${shim:+preloaded}"
        burst "$url/uwsgi/renamed" --first 101 --requests 100 --connections 6 --method POST --body 30000 \
            --save "$tmp/posted.${shim:+preloaded}"
        [ -n "$shim" ] || : >"$tmp/calls"
        [ -n "$shim" ] || rm "$tmp/uwsgi.err"
        for pid in "${started[@]:1}"; do stop "$pid"; done
        started=("${started[0]}")
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
    cmp "$tmp/posted." "$tmp/posted.preloaded"
    # uWSGI's own line of a request, and the application's.
    count "$tmp/uwsgi.err" --requests 200 --lines 2
    calls --requests 200
    has_spans '.kind == "client" and .program == "nginx"' 100
    has_spans '.kind == "server"' 400
    has_spans '.kind == "server" and .method == "POST" and .bytes_in > 30000' 200
    undegraded
}

@test "Apache and uWSGI" {
    uwsgi_serves --processes 2
    apache_serves
    burst "$url/uwsgi/renamed" --requests 100 --connections 6 --numbered
    count "$tmp/apache.log" --requests 100 --lines 1
    count "$tmp/uwsgi.err" --requests 100 --lines 2
    has_spans '.kind == "client"' 100
    rings join 100
    undegraded
}

@test "uWSGI with threads, requests at once: never another's line" {
    uwsgi_serves --processes 1 --threads 6 --thunder-lock
    nginx_serves
    burst "$url/uwsgi" --requests 300 --connections 12 --numbered
    count "$tmp/uwsgi.err" --requests 300 --none any
    undegraded
}

@test "what is no FastCGI and lies about it passes, counted, and is nobody's request" {
    fpm_serves
    /usr/bin/python3 - "${fastcgi#unix:}" <<'PY'
import socket, sys
begin = b"\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"
for sent in (b"\1\1\0\1\0\11\0\0\0\1\0\0\0\0\0\0\0",            # a BEGIN_REQUEST of nine bytes
             begin + b"\1\4\0\1\0\6\0\0\5\1XYZa" + b"\1\4\0\1\0\0\0\0",   # a pair that reaches beyond the params
             begin + b"\1\4\0\1\0\10\0\0" + b"\377" * 8,           # lengths of two gigabytes
             begin + begin[:2] + b"\0\2" + begin[4:],               # a second request at a time
             b"\1" * 64, b"\0\377\377\0\1\0", b"hello\n"):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sys.argv[1])
        s.settimeout(10)
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
        try:
            while s.recv(4096):
                pass
        except OSError:
            pass
PY
    nginx_serves
    burst "$url/plain" --requests 20 --connections 2 --numbered
    count "$tmp/log/errors.log" --requests 20 --lines 1
    counted requests 40
    [ "$(counter http_poisoned)" -ge 1 ]
    [ "$(counter opaque_connections)" -ge 1 ]
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Apache under load: processes and threads that work for one request at a time and log after the response; the event MPM,
# where an idle connection goes back to the listener's thread; CGI; and the proxy with its pool of connections.

load servers

setup() {
    servers_setup
    port=$(free_port)
    up=$(free_port)
    url=http://127.0.0.1:$port
}

teardown() {
    servers_teardown
}

# apache_serves MPM [CGI]: $tmp/www on $port, the access log in $tmp/apache.log, the error log in $tmp/apache.err
apache_serves() {
    mkdir -p "$tmp/www"
    [ -e "$tmp/www/big.txt" ] || seq -f 'line %g' 30000 >"$tmp/www/big.txt"
    echo small >"$tmp/www/small.txt"
    touch -d '2024-01-01 00:00:00 UTC' "$tmp"/www/*
    fill "$apps/apache.conf.in" DIR="$tmp" PORT="$port" UP="$up" MPM="$1" CGI="${2:-cgi}" CGIDIR="$(cgi_folder)" \
        MODULES=/usr/lib/apache2/modules >"$tmp/apache.conf"
    if [ "$(id -u)" = 0 ]; then printf 'User www-data\nGroup www-data\n' >>"$tmp/apache.conf"; fi
    serve apache "$port" apache2 -D FOREGROUND -f "$tmp/apache.conf"
}

files_and_errors() {
    apache_serves "$1"
    burst "$url/small.txt" --requests 300 --connections 24
    burst "$url/big.txt" --first 301 --requests 30 --connections 8
    burst "$url/small.txt" --first 331 --requests 30 --status 304 \
        --header 'If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT'
    burst "$url/big.txt" --first 361 --requests 30 --method HEAD
    burst "$url/limited" --first 391 --requests 60 --status 403
    burst "$url/none" --first 451 --requests 60 --status 404
    until_lines 510 "$tmp/apache.log"
    count "$tmp/apache.log" --requests 510 --lines 1
    # Error lines name the client, not the query: each must have the id of a request that was refused.
    grep 'client denied' "$tmp/apache.err" | jq -r .trace_id | sort >"$tmp/denied"
    grep '/limited' "$tmp/apache.log" | jq -r .trace_id | sort >"$tmp/limited"
    [ "$(sort -u "$tmp/denied" | wc -l)" -eq 60 ]
    cmp "$tmp/denied" "$tmp/limited"
    counted requests 510
    undegraded
}

@test "prefork: each access and error line has its request's id" {
    files_and_errors prefork
}

@test "event: each access and error line has its request's id" {
    files_and_errors event
}

@test "event: kept connections that rest between requests, and change threads" {
    apache_serves event
    burst "$url/small.txt" --requests 400 --connections 60 --per-connection 20
    until_lines 400 "$tmp/apache.log"
    count "$tmp/apache.log" --requests 400 --lines 1
    counted requests 400
    undegraded
}

pipelined() {
    apache_serves "$1"
    burst "$url/small.txt" --requests 400 --connections 8 --pipeline 10
    until_lines 400 "$tmp/apache.log"
    # Of requests that were read along with others only the last one's line can be told.
    count "$tmp/apache.log" --requests 400 --lines 1 --none any
    counted requests 400
    undegraded
}

@test "prefork: pipelined requests are never taken for one another" {
    pipelined prefork
}

@test "event: pipelined requests are never taken for one another" {
    pipelined event
}

@test "answers are the same, byte for byte, bare and preloaded" {
    for shim in '' "$object"; do
        apache_serves event
        burst "$url/big.txt" --requests 20 --save "$tmp/answers.${shim:+preloaded}"
        burst "$url/big.txt" --requests 5 --method HEAD --keep-header content-length --save "$tmp/heads.${shim:+preloaded}"
        burst "$url/limited" --requests 5 --status 403 --save "$tmp/denials.${shim:+preloaded}"
        stop "$pid"
    done
    for answers in answers heads denials; do
        [ -s "$tmp/$answers." ]
        cmp "$tmp/$answers." "$tmp/$answers.preloaded"
    done
}

proxied() {
    start_upstream
    apache_serves "$1"
    burst "$url/$2" --requests 300 --connections 16 --numbered
    burst "$url/$2" --first 301 --requests 40 --method POST --body 20000 --numbered
    until_lines 340 "$tmp/apache.log"
    count "$tmp/apache.log" --requests 340 --lines 1
    calls --requests 340
    counted calls_injected 340
    undegraded
}

@test "prefork: a proxied request's call carries its trace, on pooled connections" {
    proxied prefork proxied
}

@test "event: a proxied request's call carries its trace, on pooled connections" {
    proxied event proxied
}

@test "event: a proxied request's call carries its trace, a connection each" {
    proxied event single
}

cgi() {
    reachable_object
    apache_serves "$1" "$2"
    burst "$url/cgi/show" --requests 80 --connections 12 --numbered --save "$tmp/answers"
    until_lines 160 "$tmp/apache.err"
    until_lines 80 "$tmp/apache.log"
    count "$tmp/apache.log" --requests 80 --lines 1
}

@test "prefork, mod_cgi: the program gets its request's TRACEPARENT, and its stderr lines have that id" {
    cgi prefork cgi
    programs_got_their_own "$tmp/answers" 80
    # Apache relays the program's stderr lines, with a prefix.
    count "$tmp/apache.err" --requests 80 --lines 2
}

@test "event, mod_cgid: a daemon starts the programs, which have no trace, and nobody else's" {
    cgi event cgid
    run grep -c 'TRACEPARENT=.*00-' "$tmp/answers"
    [ "$output" = 0 ]
    # The daemon gives them an environment without the preload: their lines stay as they are.
    [ "$(grep -c '^\(cgi\|child\) says n=[0-9]*$' "$tmp/apache.err")" -eq 160 ]
}

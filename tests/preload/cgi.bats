#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# HTTP on descriptors 0 and 1: programs started by inetd and its like, one a connection, and servers that start CGI programs.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port
    mkdir -p "$tmp/www/cgi-bin"
    cp "$apps/cgi/show" "$tmp/www/cgi-bin/show"
    seq -f 'line %g' 5000 >"$tmp/www/big.txt"
    touch -d '2024-01-01 00:00:00 UTC' "$tmp/www/big.txt"
}

teardown() {
    servers_teardown
}

@test "inetd style: HTTP through stdio on descriptors 0 and 1 is no log, and answers are the same" {
    for shim in '' "$object"; do
        serve socat "$port" socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr,backlog=64" "EXEC:micro-httpd $tmp/www,nofork"
        # It takes the query for a part of the file's name.
        burst "$url/none" --requests 20 --connections 4 --per-connection 1 --status 404 \
            --save "$tmp/answers.${shim:+preloaded}"
        curl -sS "$url/big.txt" | cmp - "$tmp/www/big.txt"
        stop "$pid"
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

@test "inetd style: a program that serves on descriptors 0 and 1 logs with its request's id" {
    serve socat "$port" socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr,backlog=64" "EXEC:$programs/server_inetd,nofork"
    burst "$url/" --requests 60 --connections 6 --per-connection 1 --numbered
    until_lines 60 "$tmp/socat.err"
    grep 'n=[1-9]' "$tmp/socat.err" >"$tmp/lines" # 0 is whoever looked whether the port was open
    count "$tmp/lines" --requests 60 --lines 1
}

@test "busybox httpd: a process a connection, HTTP on descriptor 1, CGI programs with their own trace" {
    serve guest "$port" busybox httpd -f -vv -p "127.0.0.1:$port" -h "$tmp/www"
    burst "$url/big.txt" --requests 40 --connections 4 --per-connection 1
    burst "$url/cgi-bin/show" --first 41 --requests 40 --connections 4 --per-connection 1 --numbered --save "$tmp/answers"
    programs_got_their_own "$tmp/answers" 40
    grep 'says n=' "$tmp/guest.err" >"$tmp/lines"
    count "$tmp/lines" --first 41 --requests 40 --lines 2
}

@test "mini_httpd: a process a connection, CGI programs with their own trace" {
    serve guest "$port" mini_httpd -D -p "$port" -h 127.0.0.1 -d "$tmp/www" -c 'cgi-bin/*' -l "$tmp/access.log" -i "$tmp/pid"
    burst "$url/big.txt" --requests 20 --connections 4 --per-connection 1
    burst "$url/cgi-bin/show" --first 21 --requests 40 --connections 4 --per-connection 1 --numbered --save "$tmp/answers"
    programs_got_their_own "$tmp/answers" 40
    undegraded
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# One trace through everything that is read: curl --http2 inside TLS, nginx, HTTP/1.1 inside TLS, haproxy, HTTP/2, nginx, FastCGI, php-fpm,
# and the page's own call by curl.

load servers

setup() {
    servers_setup
    export TRACESHIM_RUN_DIR=$tmp/run
    settings+=(TRACESHIM_LOG_FILES="$tmp/log/*.log" TRACESHIM_EXPORT=traces)
    port=$(free_port)
    proxy=$(free_port)
    service=$(free_port)
    url=https://127.0.0.1:$port
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    chmod 644 "$tmp/both.pem"
    mkdir -m 1777 "$tmp/log"
    cp -R "$apps/fastcgi" "$tmp/pages" # where a server that changed its user may read it
}

teardown() {
    servers_teardown
}

# chain_serves EDGE PROXY SERVICE: what each of the three does with the trace of its caller (a line of its configuration, or nothing)
chain_serves() {
    local user='' tries=$WAIT_TRIES
    start_upstream
    [ "$(id -u)" != 0 ] || user='user = www-data\ngroup = www-data'
    fill "$apps/fastcgi/fpm.conf.in" DIR="$tmp" LISTEN="$tmp/fpm.sock" CHILDREN=8 ERRORS="$tmp/log/page.log" USER="$user" \
        >"$tmp/fpm.conf"
    fill "$apps/chain/service.conf.in" DIR="$tmp" PORT="$service" UP="$up" FASTCGI="$tmp/fpm.sock" \
        SCRIPT="$tmp/pages/page.php" DROP="$3" >"$tmp/service.conf"
    fill "$apps/chain/haproxy.cfg.in" DIR="$tmp" PORT="$proxy" NEXT="$service" DROP="$2" >"$tmp/haproxy.cfg"
    fill "$apps/chain/edge.conf.in" DIR="$tmp" PORT="$port" NEXT="$proxy" DROP="$1" >"$tmp/edge.conf"
    start fpm "$(compgen -c php-fpm | head -n 1)" -F -R -y "$tmp/fpm.conf"
    until [ -S "$tmp/fpm.sock" ] || [ $((tries--)) -le 0 ]; do sleep 0.025; done
    serve service "$service" nginx -e stderr -p "$tmp" -c "$tmp/service.conf"
    serve haproxy "$proxy" haproxy -db -f "$tmp/haproxy.cfg"
    serve edge "$port" nginx -e stderr -p "$tmp" -c "$tmp/edge.conf"
}

# ask N: curl, traced, of a trace of its own
ask() {
    env "${settings[@]}" TRACESHIM_LOG=off LD_PRELOAD="$object" curl -sSk --http2 -w '%{http_version}\n' "$url/page?n=$1" >>"$tmp/answers"
}

# traces_of N FILE...: the traces of the records that name n=N, each once
traces_of() {
    local n=$1
    shift
    cat "$@" | grep '^{' | jq -r "select(.message | test(\"\\\\bn=$n\\\\b\")) | .trace_id // \"none\"" | sort -u
}

# haproxy passes the trace on: whom its loop works for is not known when it calls, nor when it logs. It has a span of each request.
@test "curl, nginx, haproxy, nginx, php-fpm: one trace, each hop's call the parent of the next one's request" {
    local n
    chain_serves 'proxy_set_header traceparent "";' '' 'fastcgi_param HTTP_TRACEPARENT "" if_not_empty;'
    for n in $(seq 1 20); do ask "$n"; done
    [ "$(grep -c '^2$' "$tmp/answers")" -eq 20 ]
    [ "$(grep -c '^hello n=' "$tmp/answers")" -eq 20 ]
    # A server that is asked once a connection logs when that ends.
    until_lines 20 "$tmp/edge.log"
    until_lines 20 "$tmp/service.log"
    for n in $(seq 1 20); do
        traces_of "$n" "$tmp/log/page.log" >"$tmp/traces"
        cat "$tmp/traces"
        [ "$(wc -l <"$tmp/traces")" -eq 1 ]
        [[ $(<"$tmp/traces") =~ ^[0-9a-f]{32}$ ]]
        # nginx' lines have none where another event came along in the same iteration of its loop.
        traces_of "$n" "$tmp"/{edge,service,haproxy}.log | grep -vxFe none -f "$tmp/traces" && return 1
        grep -hFf "$tmp/traces" "$tmp"/{edge,service}.log >>"$tmp/named" || true
        # and the page's own call, by the same trace
        jq -es --argjson n "$n" --arg trace "$(<"$tmp/traces")" 'map(select(.n == $n) | .headers[] | select(.[0] == "traceparent")
            | .[1][3:35]) == [$trace]' "$tmp/calls"
    done
    [ "$(wc -l <"$tmp/named")" -ge 10 ]
    # curl, nginx, nginx and the page call; the upstream of the page is no guest.
    has_spans '.kind == "client"' 80
    has_spans '.kind == "server"' 80
    rings join 40
    [ "$(rings | jq -rs '[.[] | select(.what == "span")] | group_by(.trace) | map(length) | unique | @csv')" = 8 ]
    # From the page to curl: a chain of parents without a gap.
    rings | jq -es '[.[] | select(.what == "span")] | (map({key: .span, value: .}) | from_entries) as $by
        | map(select(.program == "php-fpm8.2" and .kind == "client"))
        | map([recurse($by[.parent] // empty) | .program] == ["php-fpm8.2", "php-fpm8.2", "nginx", "nginx", "nginx", "nginx", "curl"])
        | length == 20 and all'
    undegraded
}

@test "the chain under load, the client's trace passed on: each line has the id of its request, or none" {
    chain_serves '' '' ''
    "$here/attribution" curl "$url/page" --requests 200 | sed 's/^silent$/silent\ninsecure\nhttp2/' >"$tmp/ask"
    curl --parallel --parallel-max 6 --config "$tmp/ask"
    until_lines 200 "$tmp/edge.log"
    until_lines 200 "$tmp/service.log"
    count "$tmp/log/page.log" --requests 200 --lines 1
    count "$tmp/service.log" --requests 200 --none any
    count "$tmp/edge.log" --requests 200 --none any
    count "$tmp/haproxy.log" --requests 200 --none any
    calls --requests 200
    undegraded
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: each request that is served, and each call, leaves one span, with the ids of its lines and of the head that went out, the
# route that the framework found, and what became of it.

load servers
load node

setup_file() {
    node_setup_file
}

setup() {
    node_setup
    settings+=(TRACESHIM_EXPORT=traces)
}

teardown() {
    servers_teardown
}

# forget: the spans so far
forget() {
    rm -f "$tmp"/run/*.ring
}

# misbehaves: the server whose answers and calls end in every way
misbehaves() {
    dead=$(free_port)
    peer=$(free_port)
    node_serves spans.mjs "$dead" "$peer"
}

# ends PATH FILTER: a request for it has one server span, and the filter holds for its call, which is its child
ends() {
    curl -s -m 20 "$url${1#/}?n=7" || true
    has_spans ".kind == \"server\" and .target == \"$1?n=7\"" 1
    has_spans ".kind == \"client\" and .parent == (\"$(rings | jq -r "select(.target == \"$1?n=7\" and .kind == \"server\") | .span")\") and ($2)" 1
}

@test "nothing is left, and nothing is wrapped, where nothing is to be exported" {
    settings=(TRACESHIM_RUN_DIR="$tmp/run")
    node_serves express.js
    burst "${url}shop/items/1" --requests 20
    stop "$guest"
    [ -z "$(find "$tmp/run" -name '*.ring*')" ]
}

@test "each request has one span with its own ids: kept connections, pipelines, bodies, HEAD" {
    node_serves server.js
    burst "$url" --requests 500 --connections 50 --numbered
    burst "$url" --first 501 --requests 100 --connections 5 --pipeline 10 --numbered
    burst "$url" --first 601 --requests 100 --connections 10 --method POST --body 5000 --chunked --numbered
    burst "$url" --first 701 --requests 50 --connections 10 --method HEAD
    burst "$url" --first 751 --requests 50 --http 1.0
    has_spans '.kind == "server"' 800
    rings judge 1 500
    # How bytes are shared between requests that come in one piece is not known, and not said.
    [ "$(spans '.bytes_in == 0')" -gt 0 ]
    [ "$(spans '.bytes_in == 0')" -le 100 ]
    [ "$(spans '.method == "POST" and .bytes_in > 5000')" -eq 100 ]
    [ "$(spans '.method == "HEAD" and .bytes_out < 300')" -eq 50 ]
    [ "$(spans '.version == 10')" -eq 50 ]
    [ "$(rings | jq -r .span | sort -u | wc -l)" -eq 800 ]
    undegraded
    counted spans 800
}

@test "a span has the ids of its request's lines" {
    node_serves server.js
    burst "$url" --requests 200 --connections 20 --fresh --numbered
    has_spans '.kind == "server"' 200
    stop "$guest"
    rings | jq -r '"\(.target | capture("n=(?<n>[0-9]+)").n) \(.trace) \(.span)"' | sort >"$tmp/spans"
    jq -r 'select(.message | test("^n=[0-9]+ ends$")) | "\(.message | capture("n=(?<n>[0-9]+)").n) \(.trace_id) \(.span_id)"' \
        "$tmp/guest.log" | sort >"$tmp/lines"
    [ "$(wc -l <"$tmp/lines")" -eq 200 ]
    cmp "$tmp/spans" "$tmp/lines"
}

@test "what a span says: who asked, for what, when" {
    node_serves server.js
    curl -s -H 'User-Agent: teller/1' -H 'Host: shop.example:81' -H 'X-Forwarded-For: 192.0.2.7' \
        -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -H 'tracestate: a=b' "${url}a/b?n=3&c=d"
    has_spans '.target == "/a/b?n=3&c=d" and .host == "shop.example:81" and .user_agent == "teller/1" and .forwarded == "192.0.2.7"
        and .trace == "0af7651916cd43dd8448eb211c80319c" and .parent == "b7ad6b7169203331" and .tracestate == "a=b" and .remote
        and .sampled and .status == 200 and .version == 11 and .peer == "127.0.0.1" and .peer_port > 0 and (.flags % 32) < 16
        and .start < .first and .first <= .end' 1
    # The third request waits between two writes.
    has_spans '.end - .first > 1000' 1
}

@test "https, HTTP/2 without and with TLS, streams: a span each" {
    certificate
    local kind n=0
    for kind in https:https h2c:h2c h2:h2 h2stream:h2c; do
        again
        node_serves server.js "${kind%:*}"
        ask "${kind#*:}" 150 30
        has_spans ".kind == \"server\" and .status == 200 and .error == \"\"" $((n += 150))
    done
    [ "$(spans '.version == 20 and .peer == "127.0.0.1" and .status == 200 and (.host | startswith("127.0.0.1:"))')" -eq 450 ]
    [ "$(spans '(.flags / 16 | floor) % 2 == 1')" -eq 300 ]
    [ "$(spans '.version == 11 and .bytes_out > 100')" -eq 150 ]
    # Ids are those that the client brought.
    [ "$(rings | jq -r 'select((.trace | startswith("7e57")) and (.parent | startswith("ca11e7"))) | .span' | sort -u | wc -l)" -eq 600 ]
}

@test "upgrades and CONNECT: a span that ends when the connection leaves HTTP" {
    node_serves tunnels.js
    ask upgrade 60 20
    has_spans '.kind == "server" and .status == 101 and .upgraded and .error == "" and .first <= .end' 60
    ask connect 60 20
    has_spans '.kind == "server" and .status == 200 and .upgraded and .method == "CONNECT"' 60
    has_spans true 120
}

@test "answers that end in every way" {
    misbehaves
    local path
    for path in plain none empty missing broken early stream large; do curl -s -o "$tmp/answer" "$url$path?n=1"; done
    has_spans '.status == 200 and (.target | test("plain|early|stream|large")) and .error == ""' 4
    has_spans '.status == 304 and .error == "" and .bytes_out > 50' 1
    has_spans '.status == 204' 1
    has_spans '.status == 404' 1
    has_spans '.status == 500' 1
    # What is announced early is no answer yet, and a stream begins long before it ends.
    has_spans '.target == "/early?n=1" and .first - .start > 1000000' 1
    has_spans '.target == "/stream?n=1" and .end - .first > 20000000' 1
    has_spans '.target == "/large?n=1" and .bytes_out > 8388608' 1
    for path in drop cut; do curl -s -o "$tmp/answer" "$url$path?n=2" || true; done
    has_spans '.target == "/drop?n=2" and .status == 0 and .error == "unanswered" and .first == 0' 1
    has_spans '.target == "/cut?n=2" and .status == 200 and .error == "unanswered"' 1
    # Its client leaves.
    curl -s -m 0.2 "${url}silent?n=3" || true
    has_spans '.target == "/silent?n=3" and .status == 0 and .error == "closed"' 1
    has_spans true 11
}

@test "calls that end in every way" {
    misbehaves
    ends /refused '.status == 0 and .error == "refused" and .host == "127.0.0.1:'"$dead"'"'
    ends /refused-fetch '.status == 0 and .error == "refused"'
    ends /timeout '.status == 0 and .error == "timeout"'
    ends /timeout-fetch '.status == 0 and .error == "timeout"'
    ends /aborted '.status == 0 and .error == "unanswered"'
    ends /dropped '.status == 0 and .error == "reset"'
    ends /cut-call '.status == 200 and .error == "reset" and .first > 0'
    ends /failing '.status == 500 and .error == ""'
    ends /head-only '.status == 200 and .error == "" and .first == .end'
    ends /upgrade-call '.status == 101 and .upgraded and .error == ""'
    ends /stream-call '.status == 418 and .version == 20 and .peer == "127.0.0.1"'
}

# joins SPANS_EACH CLIENT...: on one server, 50 requests each that ask the peer so; their calls' spans are their children, and have the
# ids that the peer saw
joins() {
    local each=$1 client first=1 calls
    : >"$tmp/calls"
    again
    forget
    node_serves calls.mjs "$peer"
    for client in "${@:2}"; do
        burst "$url$client" --first $first --requests 50 --connections 25 --numbered
        first=$((first + 50))
    done
    calls=$(((first - 1) * each))
    has_spans '.kind == "client"' $calls
    has_spans '.kind == "server"' $((first - 1))
    rings judge 1 $((first - 1))
    rings join 0
    rings | jq -r 'select(.kind == "client") | "\(.trace)-\(.span)"' | sort >"$tmp/recorded"
    jq -r '.headers[] | select(.[0] == "traceparent") | .[1]' "$tmp/calls" | sed 's/^00-//; s/-..$//' | sort >"$tmp/received"
    [ "$(wc -l <"$tmp/received")" -eq $calls ]
    cmp "$tmp/recorded" "$tmp/received"
    has_spans '.kind == "client" and .peer == "127.0.0.1" and (.status | IN(200, 302, 503)) and .error == "" and
        (.host | startswith("127.0.0.1")) and (.target | contains("n=")) and .start < .end' $calls
}

@test "calls of every client are their request's children, with the ids that went out" {
    start_peer
    joins 1 http-post http-raw https fetch-post fetch-secure undici-pool undici-pipeline axios node-fetch got-http2 h2c h2
    joins 2 fetch-redirect axios-redirect got-retry
}

# other_node VERSION: what matters, on that one
other_node() {
    with_node "$1"
    start_peer
    joins 1 http-post fetch h2c
    again
    forget
    misbehaves
    ends /refused '.error == "refused"'
    ends /refused-fetch '.error == "refused"'
    ends /dropped '.error == "reset"'
    ends /upgrade-call '.upgraded'
    again
    forget
    node_serves routes.js express
    burst "${url}shop/items/1" --requests 500 --connections 50
    has_spans '.route == "/shop/items/:id"' 500
    rings judge 1 500
}

@test "Node 18: requests, calls, errors" {
    other_node 18
}

@test "Node 22: requests, calls, errors" {
    other_node 22
}

@test "Node 24: requests, calls, errors" {
    other_node 24
}

@test "a call whose head has a trace of the program's own has no span of ours" {
    start_peer
    local client
    node_serves calls.mjs "$peer"
    for client in own-http own-fetch own-h2c; do burst "$url$client" --requests 20 --numbered; done
    has_spans '.kind == "server"' 60
    has_spans '.kind == "client"' 0
}

@test "beside an OpenTelemetry SDK there is nothing of ours for what it traces" {
    start_peer
    node_serves otel.js "$peer"
    burst "$url" --requests 50 --connections 5 --numbered
    [ "$(wc -l <"$tmp/calls")" -eq 50 ]
    stop "$guest"
    [ "$(spans true)" -eq 0 ]
}

@test "routes: Express with routers inside of routers, Fastify, Koa; none where none is known" {
    local kind
    for kind in express express-4; do
        node_serves routes.js $kind
        curl -s "${url}shop/items/5" "${url}users/7/orders/8" "${url}sub/inner/9" "${url}fails/1" "${url}nothing" >"$tmp/answers"
        has_spans '.route == "/shop/items/:id"' 1
        has_spans '.route == "/users/:user/orders/:order"' 1
        has_spans '.route == "/sub/inner/:x"' 1
        has_spans '.target == "/fails/1" and .route == "/fails/:id" and .status == 500' 1
        has_spans '.target == "/nothing" and .route == null and .status == 404' 1
        again
        forget
    done
    node_serves routes.js fastify
    curl -s "${url}items/5" "${url}deep/items/6" "${url}nothing" >"$tmp/answers"
    has_spans '.route == "/items/:id"' 1
    has_spans '.route == "/deep/items/:id"' 1
    has_spans '.target == "/nothing" and .route == null' 1
    again
    forget
    node_serves routes.js koa
    curl -s "${url}items/5" "${url}nothing" >"$tmp/answers"
    has_spans '.route == "/items/:id"' 1
    has_spans '.target == "/nothing" and .route == null' 1
}

@test "workers and clusters: a span each, from whichever thread and process" {
    node_serves cluster.js
    burst "$url" --requests 200 --connections 20
    has_spans '.kind == "server"' 200
    rings judge 1 200
    [ "$(rings | jq -r .pid | sort -u | wc -l)" -gt 1 ]
}

@test "a process that is killed under load loses no span of a request that was answered" {
    local rounds=12
    [ -z "${FULL:-}" ] || rounds=100
    env "${settings[@]}" /usr/bin/python3 "$here/rings_kill.py" $rounds "$port" "$tmp/run" /plain \
        env LD_PRELOAD="$object" "$node" "$node_apps/spans.mjs" "$port" 1 "$(free_port)"
}

@test "lines and spans go to the agent together: ids and severity, of text and of objects" {
    settings+=("TRACESHIM_EXPORT=traces,logs")
    local kind
    for kind in console pino winston; do
        forget
        node_serves loggers.mjs $kind
        curl -s "$url?n=1" >"$tmp/answer"
        has_spans '.kind == "server"' 1
        stop "$guest"
        rings | jq -es '(map(select(.what == "span"))[0]) as $span |
            [.[] | select(.what == "line" and .trace == $span.trace and .span == $span.span)] | length > 3'
        [ "$kind" = console ] || rings | jq -es '[.[] | select(.what == "line" and .trace != "") | .severity] | sort == [9, 9, 9, 17]'
        again
    done
}

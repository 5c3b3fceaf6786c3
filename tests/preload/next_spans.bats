#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2046,SC2154 # tests are subshells; variables come from next.bash; lists of versions
#
# Next.js: spans are named for the route that Next matched, whatever asked for it and in whichever mode it runs, and a Server
# Action's calls are below it.

load servers
load next

setup() {
    next_setup
    settings+=(TRACESHIM_EXPORT=traces)
}

teardown() {
    servers_teardown
}

# routes MODE VARIANT NODE...: the shop with each of these versions of Node; each request's span has its route
routes() {
    local mode=$1 variant=$2 version
    shift 2
    for version in "$@"; do
        rm -f "$tmp"/*.log "$tmp"/*.err "$tmp"/*.jsonl "$tmp"/run/*.ring
        open_shop "$variant" "$version" "$mode"
        shop --requests 14 --kinds form,page,action,list,order,edge,fail
        curl -s -o "$tmp/answer" "http://127.0.0.1:$port/_next/static/none.js"
        close_shop
        echo "Next.js $variant, $mode, Node $version:"
        /usr/bin/python3 "$here/rings.py" "$tmp/run" >"$tmp/spans"
        jq -r 'select(.kind == "server" and .program == "node" or .kind == "server" and (.target | test("/stock") | not)) |
            "\(.method) \(.route) \(.target | sub("[?&]n=.*"; "") | sub("/(lamp|table|armchair)$"; "/SKU") | sub("/[1-9][0-9]*$"; "/N"))"' \
            "$tmp/spans" | sort | uniq -c | sed 's/^ *//' >"$tmp/routes"
        cat "$tmp/routes"
        grep -x '4 POST /checkout /checkout' "$tmp/routes"
        grep -x '2 GET /products/\[sku\] /products/SKU' "$tmp/routes"
        grep -x '2 GET /api/orders /api/orders' "$tmp/routes"
        grep -x '2 POST /api/orders /api/orders' "$tmp/routes"
        grep -x '2 GET /api/edge /api/edge' "$tmp/routes"
        grep -x '2 GET /orders/\[id\] /orders/0' "$tmp/routes"
        grep '^1 GET .* /_next/static/none.js$' "$tmp/routes"
        # Each request of the stock service is below a call, which is below the request that made it.
        /usr/bin/python3 "$here/rings.py" "$tmp/run" join 5
        jq -es '([.[] | select(.kind == "server" and .route == "/checkout" and .method == "POST") | .span]) as $posts |
            [.[] | select(.kind == "client" and (.parent | IN($posts[])) and (.target | startswith("/stock")))] | length == 4' "$tmp/spans"
    done
}

@test "Next.js 16: spans are named for their routes, with next start and standalone" {
    local version
    routes start 16 20 $(full 22 24)
    for version in $(full 20 22 24); do
        routes standalone 16 "$version"
    done
}

@test "Next.js 14 and 15: the same" {
    local version
    routes start 14 18 $(full 20 22 24)
    for version in $(full 18 20 22 24); do
        routes start 15 "$version"
    done
}

@test "next dev: the same" {
    local variant
    for variant in 16-dev $(full 15-dev 14-dev); do
        routes dev "$variant" 22
    done
}

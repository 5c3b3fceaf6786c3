#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # variables are for the tests, or of servers.bash
#
# What the tests with Next.js share: the shop of tests/apps/next, made with a version of Next.js and run by a version of
# Node, and the judgement of scripts/demo-next-count on what it and its stock service logged. After `load servers`.
#
# By default each test takes one or two versions of Node that differ most; with FULL=1 it takes all that this Next.js runs
# on, all its variants, and more requests. That is some 20 minutes: LIMIT=3600 FULL=1 scripts/test preload.

readonly USER_FIELD=userId

next_setup() {
    servers_setup
    root=$(cd "$here/../.." && pwd)
    settings+=(TRACESHIM_LOG_HEADERS="x-user-id=$USER_FIELD")
    requests=400
    [ -z "${FULL:-}" ] || requests=1000
    stock_port=$(free_port)
    port=$(free_port)
    export NEXT_TELEMETRY_DISABLED=1
    # Other programs' settings, and colours, have no place in a log that is compared.
    unset NODE_OPTIONS NODE_ENV FORCE_COLOR
}

# full WORD...: these too, with FULL=1
full() {
    [ -z "${FULL:-}" ] || echo "$@"
}

# need VARIANT...: leaves in $folder where the last of them stands, built
need() {
    local variant
    for variant in "$@"; do
        folder=$("$root/scripts/demo-next.d/build" --build "$build" "$variant")
    done
}

# node_of VERSION: leaves its path in $node
node_of() {
    node=$("$root/scripts/npm-app" --build "$build" nodes)/node_modules/node$1/bin/node
    [ -x "$node" ]
}

# open_shop VARIANT NODE MODE: the stock service and the shop; MODE is start, standalone or dev
open_shop() {
    local variant=$1 mode=$3
    local -a command
    node_of "$2"
    need "$variant"
    case $mode in
    standalone) folder+=/.next/standalone && command=(server.js) ;;
    *) command=(node_modules/next/dist/bin/next "$mode" --hostname 127.0.0.1 --port "$port") ;;
    esac
    serve stock "$stock_port" env STOCK_CALLS="$tmp/calls.jsonl" /usr/bin/python3 "$here/../apps/stock/stock.py" "$stock_port"
    stock_pid=$pid
    serve shop "$port" env -C "$folder" HOSTNAME=127.0.0.1 PORT="$port" STOCK_URL="http://127.0.0.1:$stock_port" \
        ORDERS_FILE="$tmp/orders.jsonl" "$node" "${command[@]}"
    shop_pid=$pid
    # React 18 wrote an action's fields in another way.
    shoppers=("$root/scripts/demo-next.d/shoppers" "http://127.0.0.1:$port")
    [ "${variant%%-*}" != 14 ] || shoppers+=(--react-18)
}

# close_shop: after() work is done, and all is logged, when both have stopped
close_shop() {
    stop "$shop_pid"
    stop "$stock_pid"
}

# shop OPTIONS...: send requests, at most 50 at once
shop() {
    "${shoppers[@]}" --at-once 50 "$@" >>"$tmp/requests.jsonl"
}

# judge OPTIONS...: none wrong, none doubled or lost, at least 99.5 % right, of lines and calls (a price that is computed again
# behind an ended response has no id)
judge() {
    "$root/scripts/demo-next-count" --requests "$tmp/requests.jsonl" --calls "$tmp/calls.jsonl" --user-field $USER_FIELD \
        --service "shop:$tmp/shop.log,$tmp/shop.err" --service "stock:$tmp/stock.log,$tmp/stock.err" --least 99.5 --json "$@" && return
    # Why not: the table, one request, and some lines without id.
    "$root/scripts/demo-next-count" --requests "$tmp/requests.jsonl" --calls "$tmp/calls.jsonl" --user-field $USER_FIELD \
        --service "shop:$tmp/shop.log,$tmp/shop.err" --service "stock:$tmp/stock.log,$tmp/stock.err" --least 99.5 --show 1 "$@"
    grep -h 'request [0-9]' "$tmp"/shop.log "$tmp"/shop.err | grep -v '"trace_id"' | head -n 5
    return 1
}

# until_quiet FILE: wait until nothing was added to it for a second; for what an unhurried reader still has to take
until_quiet() {
    local tries=$WAIT_TRIES quiet=0 size was=-1
    while [ "$quiet" -lt 10 ] && [ $((tries--)) -gt 0 ]; do
        size=$(stat -c %s "$1")
        if [ "$size" = "$was" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        was=$size
        sleep 0.1
    done
    [ "$quiet" -ge 10 ]
}

# each MODE VARIANT NODE...: the shop with each of these versions of Node: all kinds of requests, then the judgement
each() {
    local mode=$1 variant=$2 version count=$requests
    local -a options=() warm=()
    shift 2
    # next dev says what it compiles and which actions ran while it works for a request, and compiles at first use.
    [ "$mode" != dev ] || count=200 options=(--own-lines) warm=(--warm-up)
    # Without after(), what goes on behind a response could be any request's while others are served: such work has no ids.
    [ "${variant%%-*}" != 14 ] || options+=(--least 80)
    for version in "$@"; do
        rm -f "$tmp"/*.log "$tmp"/*.err "$tmp"/*.jsonl
        open_shop "$variant" "$version" "$mode"
        shop --requests "$count" "${warm[@]}"
        close_shop
        echo "Next.js $variant, $mode, Node $version:"
        judge "${options[@]}"
    done
}

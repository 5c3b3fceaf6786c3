#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # $0 is for the guest; each test is a subshell; variables come from agent.bash
# Real programs to the end: nginx -> gunicorn with Flask -> a C server, started by one script under `traceshim run`, to a file and
# to a receiver that checks every payload.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
    unset TRACESHIM_RUN_DIR
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$tmp" # as root, workers become another user
    export TMPDIR=$tmp/tmp PYTHONDONTWRITEBYTECODE=1 PATH=$PATH:/usr/sbin:/sbin
    mkdir -m 755 "$TMPDIR"
    apps=$here/../apps/demo
}

teardown() {
    agent_teardown
}

# write_services FOLDER: a script that starts the three, asks for what $ASK says, and stops them
write_services() {
    nginx_port=$(free_port)
    shop_port=$(free_port)
    stock_port=$(free_port)
    export nginx_port shop_port stock_port STOCK_HOST=127.0.0.1:$stock_port
    sed -e "s|@DIR@|$1|g" -e "s|@NGINX_PORT@|$nginx_port|g" -e "s|@SHOP_PORT@|$shop_port|g" "$apps/nginx.conf.in" >"$1/nginx.conf"
    cat >"$1/services" <<SCRIPT
#!/bin/bash
OTEL_SERVICE_NAME=stock "$build/tests/demo_server" $stock_port 0 >"$1/stock.log" &
stock=\$!
OTEL_SERVICE_NAME=shop /usr/bin/gunicorn --workers 2 --bind 127.0.0.1:$shop_port --chdir "$apps" shop:app >"$1/shop.log" 2>"$1/shop.err" &
shop=\$!
OTEL_SERVICE_NAME=nginx nginx -e stderr -p "$1" -c "$1/nginx.conf" >"$1/nginx.log" 2>"$1/nginx.err" &
nginx=\$!
for port in $stock_port $shop_port $nginx_port; do
    for try in \$(seq 400); do (exec 4<>/dev/tcp/127.0.0.1/\$port) 2>/dev/null && break; sleep 0.05; done
done
LD_PRELOAD= curl -sS --max-time 30 "http://127.0.0.1:$nginx_port/order?n=[1-40]" >"$1/answers"
kill \$nginx \$shop \$stock
wait
SCRIPT
    chmod +x "$1/services"
}

@test "a request through nginx, Python and C is one trace of five spans, with its lines, in a file and at a receiver" {
    receive
    write_services "$tmp"
    TRACESHIM_LOG_FILES="$tmp/*.log" timeout 120 "$traceshim" run --spans "$tmp/spans.jsonl" --otlp "$url" -- "$tmp/services" >"$tmp/out" 2>"$tmp/err" 3>&-
    eventually flock -sn "$tmp/spans.jsonl" true
    cat "$tmp/err"
    [ ! -s "$got/wrong" ]
    [ "$(grep -o in_stock "$tmp/answers" | wc -l)" -eq 40 ]
    /usr/bin/python3 - "$tmp/spans.jsonl" "$got/spans" "$got/lines" <<'PY'
import collections, json, sys
text = lambda span, key: next((a["value"].get("stringValue") for a in span["attributes"] if a["key"] == key), None)
traces, ids = collections.defaultdict(list), set()
for line in open(sys.argv[1]):
    for resource in json.loads(line).get("resourceSpans", []):
        name = text(resource["resource"], "service.name")
        for span in resource["scopeSpans"][0]["spans"]:
            traces[span["traceId"]].append((name, span))
            ids.add(span["spanId"])
orders = [t for t in traces.values() if any(text(s, "url.path") == "/order" for _, s in t)]
assert len(orders) == 40, len(orders)
for trace in orders:
    shape = sorted((name, span["kind"]) for name, span in trace)
    assert shape == [("nginx", 2), ("nginx", 3), ("shop", 2), ("shop", 3), ("stock", 2)], shape
    of = {(name, span["kind"]): span for name, span in trace}
    chain = [of[key] for key in (("nginx", 2), ("nginx", 3), ("shop", 2), ("shop", 3), ("stock", 2))]
    assert "parentSpanId" not in chain[0]
    for parent, child in zip(chain, chain[1:]):
        assert child["parentSpanId"] == parent["spanId"]
    numbers = {text(s, "url.query") for s in chain if s["kind"] == 2}
    assert len(numbers) == 1, numbers
assert {json.loads(line)["spanId"] for line in open(sys.argv[2])} == ids, "the receiver got others than the file"
right = 0
for line in open(sys.argv[3]):
    record = json.loads(line)
    message = record["body"]["stringValue"]
    if "traceId" in record and message.startswith("request "):
        number = message.split()[1].rstrip(":")
        served = [s for n, s in traces[record["traceId"]] if s["kind"] == 2]
        assert all(text(s, "url.query") == "n=" + number for s in served), message
        right += 1
print(right, "lines name their request")
assert right >= 100
PY
    run "$traceshim" view --width 100 "$tmp/spans.jsonl"
    [[ $output == *"nginx: GET 200 /order"*"> nginx: GET 200"*"shop: GET 200 /order"*"> shop: GET 200"*"stock: GET 200 /stock"* ]]
}

@test "what real programs lead to is OTLP by its definitions, at a receiver that others wrote, errors among it" {
    otlp=$("$here/../../scripts/npm-app" --build "$build" otlp)
    node "$otlp/otlp.cjs" receive >"$tmp/took" 2>"$tmp/took.err" </dev/null 3>&- &
    started+=("$!")
    eventually grep -q '^http://' "$tmp/took"
    write_services "$tmp"
    # a 404 of the shop, and a 502 of nginx behind it: the shop has ended
    sed -i "s|^kill .nginx|LD_PRELOAD= curl -s -o /dev/null 'http://127.0.0.1:$nginx_port/none'; kill \$shop; wait \$shop\nLD_PRELOAD= curl -s -o /dev/null 'http://127.0.0.1:$nginx_port/order?n=99'\n&|" "$tmp/services"
    TRACESHIM_LOG_FILES="$tmp/*.log" timeout 120 "$traceshim" run --spans "$tmp/spans.jsonl" --otlp "$(head -n 1 "$tmp/took")" -- "$tmp/services" \
        >"$tmp/out" 2>"$tmp/err" 3>&-
    eventually flock -sn "$tmp/spans.jsonl" true
    cat "$tmp/err"
    node "$otlp/otlp.cjs" check "$tmp/spans.jsonl" >"$tmp/checked"
    spans=$(jq -s '[.[] | select(.name == "resourceSpans") | .count] | add' "$tmp/checked")
    line_count=$(jq -s '[.[] | select(.name == "resourceLogs") | .count] | add' "$tmp/checked")
    [ "$spans" -ge 200 ]
    [ "$line_count" -ge 100 ]
    jq -e -s 'all(.wrong == [])' "$tmp/checked"
    tail -n +2 "$tmp/took" | jq -e -s --argjson spans "$spans" --argjson lines "$line_count" 'all(.wrong == [])
        and ([.[] | select(.name == "resourceSpans") | .count] | add) == $spans and ([.[] | select(.name == "resourceLogs") | .count] | add) == $lines'
    for status in 404 502; do
        jq -e -s --arg status "$status" 'any(.[].resourceSpans[]?.scopeSpans[].spans[]; any(.attributes[]; .key == "http.response.status_code" and .value.intValue == $status))' \
            "$tmp/spans.jsonl"
    done
}

@test "a server that becomes a daemon, and overwrites its environment, keeps its agent until it ends" {
    nginx_port=$(free_port)
    cat >"$tmp/daemon.conf" <<CONF
pid $tmp/nginx.pid;
error_log $tmp/error.log;
events { worker_connections 64; }
http {
    access_log $tmp/access.log;
    client_body_temp_path $tmp/body; proxy_temp_path $tmp/proxy; fastcgi_temp_path $tmp/fastcgi;
    uwsgi_temp_path $tmp/uwsgi; scgi_temp_path $tmp/scgi;
    server { listen 127.0.0.1:$nginx_port; location / { return 200 "here"; } }
}
CONF
    "$traceshim" run --spans "$tmp/spans.jsonl" -- nginx -e "$tmp/error.log" -p "$tmp" -c "$tmp/daemon.conf" >"$tmp/out" 2>"$tmp/err" 3>&-
    eventually test -s "$tmp/nginx.pid"
    started+=("$(<"$tmp/nginx.pid")")
    sleep 1 # the agent has looked for the tree several times
    for _ in 1 2 3; do curl -s --max-time 20 "http://127.0.0.1:$nginx_port/" >/dev/null; done
    eventually grep -q '"kind":2' "$tmp/spans.jsonl"
    kill -TERM "$(<"$tmp/nginx.pid")"
    eventually flock -sn "$tmp/spans.jsonl" true
    [ "$(grep -o '"kind":2' "$tmp/spans.jsonl" | wc -l)" -eq 3 ]
    eventually eval "[ -z \"\$(ls -A '$TMPDIR')\" ]"
}

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
    for try in \$(seq 2400); do (exec 4<>/dev/tcp/127.0.0.1/\$port) 2>/dev/null && break; sleep 0.05; done
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

@test "with TRACESHIM_LOG=off logs stay as they are, and their lines are exported with the ids of their requests" {
    write_services "$tmp"
    TRACESHIM_LOG_FILES="$tmp/*.log" timeout 120 "$traceshim" run --log off --spans "$tmp/spans.jsonl" -- "$tmp/services" >"$tmp/out" 2>"$tmp/err" 3>&-
    eventually flock -sn "$tmp/spans.jsonl" true
    cat "$tmp/err"
    [ "$(grep -c 'trace_id' "$tmp"/*.log | grep -vc ':0$')" -eq 0 ]
    /usr/bin/python3 - "$tmp/spans.jsonl" "$tmp/stock.log" "$tmp/shop.log" <<'PY'
import json, sys
text = lambda of, key: next((a["value"].get("stringValue") for a in of["attributes"] if a["key"] == key), None)
served, lines = {}, []
for line in open(sys.argv[1]):
    request = json.loads(line)
    for scope in (s for r in request.get("resourceSpans", []) for s in r["scopeSpans"]):
        served.update({s["spanId"]: text(s, "url.query") for s in scope["spans"] if s["kind"] == 2})
    for resource in request.get("resourceLogs", []):
        lines += [(text(resource["resource"], "service.name"), r) for s in resource["scopeLogs"] for r in s["logRecords"]]
for name, path in ("stock", sys.argv[2]), ("shop", sys.argv[3]):
    exported = [r["body"]["stringValue"] for service, r in lines if service == name]
    for said in open(path).read().splitlines():
        assert said in exported, (name, said)
mine = {"stock": 0, "shop": 0}
for service, record in lines:
    message = record["body"]["stringValue"]
    if message.startswith("request ") and "spanId" in record:
        assert served[record["spanId"]] == "n=" + message.split()[1].rstrip(":"), message
        mine[service] += 1
print(mine)
assert mine["stock"] >= 40
PY
}

@test "with TRACESHIM_LOG=off every way to write is as bare, byte for byte, and its lines are exported whole" {
    say='import os, sys
os.write(1, b"one"); os.write(1, b" line\ntwo lines\n"); os.writev(1, [b"vec", b"tor\n", b"", b"rest "])
print("printed", flush=True); sys.stderr.write("to stderr\n"); os.write(1, b"x" * 40000 + b"\n"); print("at exit"); os.write(1, b"no newline"); os.write(2, b"unfinished")'
    /usr/bin/python3 -c "$say" >"$tmp/bare" 2>"$tmp/bare.err"
    "$traceshim" run --log off --spans "$tmp/spans.jsonl" -- /usr/bin/python3 -c "$say" >"$tmp/off" 2>"$tmp/off.err" 3>&-
    eventually flock -sn "$tmp/spans.jsonl" true
    cmp "$tmp/bare" "$tmp/off"
    cmp "$tmp/bare.err" "$tmp/off.err"
    jq -r '.resourceLogs[]?.scopeLogs[].logRecords[].body.stringValue' "$tmp/spans.jsonl" >"$tmp/exported"
    for line in "one line" "two lines" vector "rest printed" "to stderr" "no newlineat exit" unfinished; do grep -qxF "$line" "$tmp/exported"; done
    [ "$(grep -E '^x+$' "$tmp/exported" | tr -d '\n' | wc -c)" -eq 40000 ]
    # A pipe that takes a part: what was not written is not exported.
    "$traceshim" run --log off --spans "$tmp/part.jsonl" -- /usr/bin/python3 -c 'import os, sys
os.set_blocking(1, False); n = os.write(1, b"line\n" * 100000); os.write(2, b"%d\n" % n)' 2>"$tmp/taken" 3>&- | (sleep 0.2; cat >"$tmp/part")
    eventually flock -sn "$tmp/part.jsonl" true
    [ "$(cat "$tmp/taken")" -eq "$(wc -c <"$tmp/part")" ]
    [ "$(grep -o '"stringValue":"line"' "$tmp/part.jsonl" | wc -l)" -eq $(($(cat "$tmp/taken") / 5)) ]
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

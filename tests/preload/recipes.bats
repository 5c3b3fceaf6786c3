#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # $0 is for the guest; each test is a subshell; variables come from agent.bash
# scripts/recipes/: that what they say is taken, as far as it can be told without the back ends themselves, and that what programs
# lead to is OTLP by the definitions of others.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
    recipes=$here/../../scripts/recipes
}

teardown() {
    agent_teardown
}

# otlp: the folder with the checker and the receiver of others
otlp() {
    otlp=$("$here/../../scripts/npm-app" --build "$build" otlp)
}

# receive_elsewhere: a receiver that others wrote, at $url; what it took goes to $tmp/took
receive_elsewhere() {
    otlp
    node "$otlp/otlp.cjs" receive >"$tmp/took" 2>"$tmp/took.err" </dev/null 3>&- &
    started+=("$!")
    eventually grep -q '^http://' "$tmp/took"
    url=$(head -n 1 "$tmp/took")
}

# took NAME NUMBER: the receiver has so many items of this kind, and nothing was wrong with any request
took() {
    tail -n +2 "$tmp/took" >"$tmp/took.requests"
    jq -e -s --arg name "$1" --argjson number "$2" \
        'all(.wrong == []) and ([.[] | select(.name == $name) | .count] | add // 0) == $number' "$tmp/took.requests"
}

@test "configuration files are YAML as it should be, and say what the README says" {
    for file in "$recipes"/*/*.yaml; do yamllint -s -d '{extends: relaxed, rules: {line-length: disable}}' "$file"; done
    promtool check config "$recipes/tempo-loki-grafana/prometheus.yaml"
    for recipe in "$recipes"/*/; do
        [ -s "$recipe/README.md" ]
        ! compgen -G "$recipe/*.yaml" >/dev/null || grep -q ':4318' "$recipe"/*.yaml
        grep -q "$(basename "$recipe")/" "$recipes/README.md"
    done
}

@test "the settings of each recipe are taken without a complaint, and lead to a receiver that others wrote" {
    receive_elsewhere
    sent=0
    for settings in "$recipes"/*/traceshim.env; do
        (
            set -a
            # shellcheck disable=SC1090 # each recipe's
            . "$settings"
            # The receiver has a port of its own, and takes no gzip.
            for name in ENDPOINT TRACES_ENDPOINT; do
                variable=OTEL_EXPORTER_OTLP_$name
                [ -z "${!variable:-}" ] || export "$variable=${!variable/http:\/\/127.0.0.1:4318/$url}"
            done
            unset OTEL_EXPORTER_OTLP_COMPRESSION
            agent
            "$writer" "$run_dir" spans=3 lines=2
            stop_agent
        )
        [ ! -s "$tmp/agent.err" ]
        sent=$((sent + 3))
        eventually took resourceSpans "$sent"
    done
    # Two of them leave the lines to somebody else.
    took resourceLogs 4
}

# systemd_files: the recipe's, with this build in place of what is installed, in $tmp/units; the settings are those of a receiver at $url
systemd_files() {
    mkdir -p "$tmp/units/shop.service.d" "$tmp/state"
    printf '[Service]\nExecStart=/bin/true\n' >"$tmp/units/shop.service"
    for file in traceshim-agent.service traceshim.conf; do
        sed -e "s|/usr/local/bin/traceshim|$traceshim|; s|/usr/local/lib/traceshim/|$build/|; s|/run/traceshim|$run_dir|; s|/var/lib/traceshim|$tmp/state|" \
            "$recipes/systemd/$file" >"$tmp/units/$file"
    done
    mv "$tmp/units/traceshim.conf" "$tmp/units/shop.service.d/"
}

@test "systemd takes the unit and the addition to a service, and what they start goes the whole way" {
    receive
    systemd_files
    # It has something to say of other units, too.
    systemd-analyze verify "$tmp/units/traceshim-agent.service" "$tmp/units/shop.service" 2>&1 | grep 'traceshim\|shop' && false
    sed 's/^After/Aftr/' -i "$tmp/units/shop.service.d/traceshim.conf"
    systemd-analyze verify "$tmp/units/shop.service" 2>&1 | grep -qF 'Aftr'
    # What they say, without systemd: nothing else in the environment, and standard output is a socket.
    read -ra start < <(sed -n 's/^ExecStart=//p' "$tmp/units/traceshim-agent.service")
    env -i OTEL_EXPORTER_OTLP_ENDPOINT="$url" OTEL_BLRP_SCHEDULE_DELAY=50 "${start[@]}" 2>"$tmp/agent.err" </dev/null 3>&- &
    agent=$!
    started+=("$agent")
    read -ra settings < <(sed -n 's/^Environment=//p' "$tmp/units/shop.service.d/traceshim.conf" | sed 's/%N/shop/' | paste -sd ' ')
    [ "${#settings[@]}" -eq 4 ]
    /usr/bin/python3 - "${settings[@]}" >"$tmp/journal" <<'PY'
import socket, subprocess, sys
ours, theirs = socket.socketpair()
subprocess.run(["/bin/sh", "-c", "echo INFO the shop is open"], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
               env=dict(pair.split("=", 1) for pair in sys.argv[1:]), check=True)
theirs.close()
while data := ours.recv(65536):
    sys.stdout.buffer.write(data)
PY
    jq -e '.message == "INFO the shop is open" and .service == "shop"' "$tmp/journal"
    eventually lines_in 1 "$got/lines"
    grep -q 'the shop is open' "$got/lines"
    stop_agent
    [ ! -s "$tmp/agent.err" ]
}

@test "what the agent writes of spans and lines of every kind is OTLP by its definitions" {
    otlp
    agent --spans "$tmp/spans.jsonl"
    "$writer" "$run_dir" spans=300 lines=300
    "$writer" "$run_dir" spans=2 status=503 mark=$'\xff\x01"\\<\xc3\xa9\xf0\x9f\x98\x80' service=$'\xfe\n'
    "$writer" "$run_dir" spans=2 trace=7
    eventually no_rings
    stop_agent
    node "$otlp/otlp.cjs" check "$tmp/spans.jsonl" >"$tmp/checked"
    jq -e -s 'all(.wrong == []) and ([.[] | select(.name == "resourceSpans") | .count] | add) == 304
        and ([.[] | select(.name == "resourceLogs") | .count] | add) == 300' "$tmp/checked"
}

@test "the checker finds what is wrong" {
    otlp
    good='{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","kind":2,"startTimeUnixNano":"5"}]}]}]}'
    {
        echo "$good"
        echo "${good/0af7651916cd43dd8448eb211c80319c/AAAA}"
        echo "${good/\"kind\":2/\"kind\":\"SERVER\"}"
        echo "${good/\"5\"/5}"
        echo "${good/\"kind\"/\"Kind\"}"
        echo "${good/\"kind\":2/\"kind\":9}"
    } >"$tmp/requests"
    node "$otlp/otlp.cjs" check "$tmp/requests" >"$tmp/checked"
    [ "$(jq -c '.wrong | length > 0' "$tmp/checked" | tr '\n' ' ')" = "false true true true true true " ]
}

@test "Prometheus scrapes the agent, with the token" {
    agent --metrics 127.0.0.1:0 --token change-me --ui 127.0.0.1:0
    page=$(grep -o 'http://[^ ?]*' "$tmp/agent.err")
    "$writer" "$run_dir" spans=7
    eventually no_rings
    port=$(free_port)
    page_host=${page#http://}
    page_host=${page_host%/}
    sed -e "s|host.docker.internal:4319/*|${page_host}|; s|15s|1s|" "$recipes/tempo-loki-grafana/prometheus.yaml" >"$tmp/prometheus.yaml"
    prometheus --config.file="$tmp/prometheus.yaml" --storage.tsdb.path="$tmp/tsdb" --web.listen-address="127.0.0.1:$port" \
        >"$tmp/prometheus.out" 2>&1 </dev/null 3>&- &
    started+=("$!")
    scraped() {
        curl -sG "http://127.0.0.1:$port/api/v1/query" --data-urlencode 'query=http_server_request_duration_seconds_count{service_name="writer"}' |
            jq -e '.data.result[0].value[1] == "7"'
    }
    eventually scraped
    stop_agent
}

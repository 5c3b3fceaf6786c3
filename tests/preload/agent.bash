#!/usr/bin/env bash
# shellcheck disable=SC2034 # variables are for the tests
#
# What the tests of the agent share: an agent, guests that leave rings, a receiver that checks every payload.

readonly AGENT_TRIES=2400 # of 0.025 s: a busy machine may need a minute

agent_setup() {
    here=$BATS_TEST_DIRNAME
    build=$(cd "${TRACESHIM_BUILD:-$here/../../build}" && pwd)
    export -n TRACESHIM_BUILD
    unset PYTHONUNBUFFERED LD_PRELOAD TRACEPARENT TRACESTATE BAGGAGE "${!OTEL_@}"
    local name
    for name in "${!TRACESHIM_@}"; do [ "$name" = TRACESHIM_BUILD ] || unset "$name"; done
    traceshim=$build/traceshim
    writer=$build/tests/ring_writer
    tmp=$BATS_TEST_TMPDIR
    run_dir=$tmp/run
    got=$tmp/got
    mkdir -m 1777 "$run_dir"
    mkdir "$got"
    export TRACESHIM_LIBRARY=$build/libtraceshim.so TRACESHIM_RUN_DIR=$run_dir
    started=()
    # A first repetition soon; batches when there is something.
    fast=(--retry-delay 20)
    export OTEL_BSP_SCHEDULE_DELAY=50 OTEL_BLRP_SCHEDULE_DELAY=50
}

agent_teardown() {
    local pid
    for pid in "${started[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

# free_port: one where nobody listens, and that no other test is told while this one runs
free_port() {
    "$here/free_port.py" "$$"
}

# eventually COMMAND...: until it succeeds
eventually() {
    local tries=$AGENT_TRIES
    until "$@" >/dev/null 2>&1; do
        if [ $((tries--)) -le 0 ]; then
            echo "never: $*"
            "$@" || true
            return 1
        fi
        sleep 0.025
    done
}

# receive [STEP...]: a receiver on $port ($url)
receive() {
    port=${port:-$(free_port)}
    url=http://127.0.0.1:$port
    "$here/otlp_receiver.py" "$port" "$got" "$@" >>"$tmp/receiver.err" 2>&1 3>&- 5>&- &
    receiver=$!
    started+=("$receiver")
    eventually eval "(exec 4<>/dev/tcp/127.0.0.1/$port)"
}

# agent OPTION...: one that is ready; messages in $tmp/agent.err. A receiver on a busy machine has time to take what is left at its end.
agent() {
    : >"$tmp/ready"
    "$traceshim" agent --run-dir "$run_dir" --ready-fd 6 --flush-timeout 60000 "$@" </dev/null >"$tmp/agent.out" 2>>"$tmp/agent.err" \
        3>&- 5>&- 6>"$tmp/ready" &
    agent=$!
    started+=("$agent")
    eventually eval "[ -s '$tmp/ready' ] || ! kill -0 $agent"
    [ -s "$tmp/ready" ] || { cat "$tmp/agent.err" && return 1; }
}

# stop_agent: asks it to end, and waits for that
stop_agent() {
    local status=0
    kill -TERM "$agent"
    wait "$agent" || status=$?
    cat "$tmp/agent.err"
    [ "$status" -eq 0 ]
}

lines_in() { # lines_in NUMBER FILE
    [ -e "$2" ] && [ "$(wc -l <"$2")" -ge "$1" ]
}

# no_rings: all have been drained and removed
no_rings() {
    ! compgen -G "$run_dir/*.ring" >/dev/null
}


# received NUMBER [FILE]: each of 1 to NUMBER once, in order, and every payload was right
received() {
    [ ! -s "$got/wrong" ] || { head -c 2000 "$got/wrong" && return 1; }
    /usr/bin/python3 - "${2:-$got/spans}" "$1" <<'PY'
import json, sys
numbers = [int(json.loads(line)["traceId"][16:], 16) for line in open(sys.argv[1])]
wanted = list(range(1, int(sys.argv[2]) + 1))
if numbers != wanted:
    print(f"{len(numbers)} of {len(wanted)}, {len(set(numbers))} different, in order: {numbers == sorted(numbers)}")
    sys.exit(1)
PY
}

# said TEXT [TIMES]: the agent said that so often (once)
said() {
    local times
    times=$(grep -cF -- "$1" "$tmp/agent.err" || true)
    [ "$times" -eq "${2:-1}" ] || { echo "said $times times: $1" && cat "$tmp/agent.err" && return 1; }
}

# Helpers of the torture set: each program runs bare and preloaded, with its output in pipes and in files, everything switched on,
# and all that can be seen of the two runs is compared. To be loaded by `load torture`, behind `load guest`.

# everything_on: every feature that touches bytes
everything_on() {
    export TRACESHIM_RESPONSE_HEADER=x-answered-in OTEL_PROPAGATORS=tracecontext,baggage,b3,b3multi,jaeger
    export TRACESHIM_LOG_HEADERS=x-user-id=userId,accept TRACESHIM_RAW=on BAGGAGE=torture=on
    export TRACESHIM_EXPORT=traces,logs TRACESHIM_RING_SIZE=65536
    export TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

torture_setup() {
    guest_setup
    everything_on
}

# What else is preloaded, in both: ABOVE us, or BENEATH.
# one_run HOW KIND COMMAND...: HOW into or into_files; KIND bare or shim. The folder of the run is the command's last word.
one_run() {
    local how=$1 kind=$2 dir=$tmp/$1.$2
    shift 2
    mkdir -p "$dir"
    export TRACESHIM_LOG_FILES="$dir/*.log"
    case $kind in
    bare) "$how" "$how.bare" env ${ABOVE:+LD_PRELOAD="$ABOVE"} ${BENEATH:+LD_PRELOAD="$BENEATH"} "$@" "$dir" ;;
    shim) "$how" "$how.shim" env LD_PRELOAD="${ABOVE:+$ABOVE:}$so${BENEATH:+:$BENEATH}" "$@" "$dir" ;;
    esac
}

# torture COMMAND...: the four runs side by side, each with a folder of its own as last argument; then the comparison
torture() {
    local how kind pids=() pid
    rm -rf "$tmp"/into*
    for how in ${HOWS:-into into_files}; do
        for kind in bare shim; do
            one_run "$how" "$kind" "$@" &
            pids+=("$!")
        done
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    for how in ${HOWS:-into into_files}; do
        echo "# $how: $*"
        compare "$how" || return 1
    done
}

# compare HOW: output, status, trail, wire, and the logs that the program opened by name
compare() {
    local log name
    # The program does not know its case, or could not begin (see torture.h); env could not start it; it hung or crashed.
    case $(<"$tmp/$1.bare.status") in
    97 | 98 | 99 | 124 | 125 | 126 | 127 | 137 | 139) echo "bare: status $(<"$tmp/$1.bare.status")" && cat "$tmp/$1.bare.err" && return 1 ;;
    esac
    "${AGREE:-agree}" "$1.bare" "$1.shim" || { head -c 1000 "$tmp/$1.shim.err" && return 1; }
    /usr/bin/python3 "$BATS_TEST_DIRNAME/torture.py" "$tmp/$1.bare" "$tmp/$1.shim" || return 1
    for log in "$tmp/$1.bare"/*.log; do
        [ -e "$log" ] || continue
        name=$(basename "$log")
        records "$tmp/$1.shim/$name" || return 1
        unwrap "$tmp/$1.shim/$name" | ${FILTER:-cat} | cmp - <(${FILTER:-cat} <"$log") || return 1
    done
}

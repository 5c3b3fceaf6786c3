#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# gRPC's own core, by Python and by C++: calls and answers are those of the bare programs, and spans have what gRPC says of a call.

load servers

# The C++ peer takes seconds to compile: once, and only the parts of gRPC that need no generated code.
setup_file() {
    g++ -std=c++17 -O1 -Wall -Wextra -o "$BATS_FILE_TMPDIR/peer" "$BATS_TEST_DIRNAME/../apps/servers/grpc/peer.cc" \
        -lgrpc++ -lgrpc -lgpr -labsl_synchronization
}

setup() {
    servers_setup
    cxx=$BATS_FILE_TMPDIR/peer
    settings+=(TRACESHIM_EXPORT=traces)
    port=$(free_port)
    trace=0af7651916cd43dd8448eb211c80319c
    parent=00-$trace-b7ad6b7169203331-01
}

teardown() {
    servers_teardown
}

peer() {
    /usr/bin/python3 "$here/grpc_peer.py" "$@"
}

# until_spans N FILTER: wait until so many spans satisfy a filter of jq, and no more
until_spans() {
    local tries=$WAIT_TRIES
    while /usr/bin/python3 "$here/rings.py" "$tmp/run" | jq -s "[.[] | select(.what == \"span\") | select($2)]" >"$tmp/spans" &&
        [ "$(jq length "$tmp/spans")" -lt "$1" ] && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    jq -c '.[]' "$tmp/spans" | head -3
    [ "$(jq length "$tmp/spans")" -eq "$1" ]
}

@test "a server of gRPC: answers are the bare ones, spans have the caller's trace, the method and how the call went" {
    serve grpc "$port" /usr/bin/python3 "$here/grpc_peer.py" serve "$port"
    peer call "$port" Echo 20 "$parent" >"$tmp/answers"
    seq -f "message %g $parent" 0 19 | cmp - "$tmp/answers"
    [ "$(peer call "$port" Fail 1)" = NOT_FOUND ]
    [ "$(peer call "$port" Broken 1)" = INTERNAL ]
    [ "$(peer call "$port" None 1)" = UNIMPLEMENTED ]
    until_spans 20 ".kind == \"server\" and .grpc and .grpc_status == 0 and .target == \"/demo.v1.Demo/Echo\" and .trace == \"$trace\""
    until_spans 1 '.grpc and .grpc_status == 5 and .target == "/demo.v1.Demo/Fail"'
    until_spans 1 '.grpc and .grpc_status == 13 and .target == "/demo.v1.Demo/Broken"'
    until_spans 1 '.grpc and .grpc_status == 12 and .target == "/demo.v1.Demo/None"'
}

@test "a client of gRPC: each call has one trace header, of a trace of its own or the program's, and a span" {
    shim='' serve grpc "$port" /usr/bin/python3 "$here/grpc_peer.py" serve "$port"
    env "${settings[@]}" LD_PRELOAD="$object" /usr/bin/python3 "$here/grpc_peer.py" call "$port" Echo 10 >"$tmp/answers"
    cat "$tmp/answers"
    jq -r .message "$tmp/answers" | sed -n 's/^message [0-9] 00-\([0-9a-f]\{32\}\)-[0-9a-f]\{16\}-03$/\1/p' | sort -u >"$tmp/traces"
    [ "$(wc -l <"$tmp/traces")" -eq 10 ]
    env "${settings[@]}" LD_PRELOAD="$object" /usr/bin/python3 "$here/grpc_peer.py" call "$port" Echo 10 "$parent" >"$tmp/answers"
    [ "$(jq -r .message "$tmp/answers" | grep -c " $parent\$")" -eq 10 ]
    until_spans 10 '.kind == "client" and .grpc and .grpc_status == 0'
}

@test "metadata of many kilobytes: the call carries one trace header, Python's and C++" {
    shim='' serve grpc "$port" /usr/bin/python3 "$here/grpc_peer.py" serve "$port"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off LONG=6000 /usr/bin/python3 "$here/grpc_peer.py" call "$port" Echo 5 >"$tmp/answers"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off LONG=6000 "$cxx" call "$port" Echo 5 >>"$tmp/answers"
    cat "$tmp/answers"
    [ "$(sed -n 's/^message [0-9] 00-\([0-9a-f]\{32\}\)-[0-9a-f]\{16\}-03$/\1/p' "$tmp/answers" | sort -u | wc -l)" -eq 10 ]
}

@test "many calls at once inside TLS, which works in memory that takes no more than a record: all of them are answered" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    export CERT=$tmp/both.pem
    shim='' serve grpc "$port" /usr/bin/python3 "$here/grpc_peer.py" serve "$port"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off /usr/bin/python3 "$here/grpc_peer.py" burst "$port" 60 >"$tmp/answers" 2>&1
    sort "$tmp/answers" | uniq -c
    [ "$(grep -cx OK "$tmp/answers")" -eq 60 ]
    [ "$(grep -c in=00- "$tmp/grpc.log")" -ge 8 ]
}

@test "a client's span ends with the trailers, which say how the call went, not with the head of the answer" {
    shim='' serve grpc "$port" /usr/bin/python3 "$here/grpc_peer.py" serve "$port"
    env "${settings[@]}" TRACESHIM_LOG=off LD_PRELOAD="$object" /usr/bin/python3 "$here/grpc_peer.py" call "$port" Talk 3 >"$tmp/answers"
    diff "$tmp/answers" <(seq -f 'message %g' 0 2)
    until_spans 3 '.kind == "client" and .grpc and .grpc_status == 0 and .first > 0 and .first < .end'
}

# echoes FILE: each line of an Echo that has an id has that of the trace that came with it; how many have one
echoes() {
    jq -s 'map(select(.message | startswith("echo ")) | .id = (.message | capture("in= ?(00-(?<id>[0-9a-f]{32}))?").id)) |
        if any(.[]; .trace_id and .id and .trace_id != .id) then -1 else map(select(.trace_id and .id)) | length end' "$1"
}

@test "C++, by a completion queue and by gRPC's own threads: answers are the bare ones, lines have their call's trace, or none" {
    for how in '' CALLBACK=1; do
        rm -f "$tmp"/grpc.log "$tmp"/run/*
        port=$(free_port)
        serve grpc "$port" env $how "$cxx" serve "$port"
        server=$pid
        "$cxx" call "$port" Echo 20 "$parent" | cmp - <(seq -f "message %g $parent" 0 19)
        [ "$("$cxx" call "$port" Fail 1)" = "status 5" ]
        [ "$("$cxx" call "$port" None 1)" = "status 12" ]
        until_spans 20 ".kind == \"server\" and .grpc and .grpc_status == 0 and .target == \"/demo.v1.Demo/Echo\" and .trace == \"$trace\""
        until_spans 1 '.grpc and .grpc_status == 5 and .target == "/demo.v1.Demo/Fail"'
        until_spans 1 '.grpc and .grpc_status == 12 and .target == "/demo.v1.Demo/None"'
        with=$(echoes "$tmp/grpc.log")
        echo "$how: $with of 20 lines have their trace"
        [ "$with" -ge 0 ]
        undegraded
        stop "$server"
    done
}

@test "C++: each call has one trace header and a span; a service that asks another one passes its caller's trace on, or none" {
    next=$(free_port)
    shim='' serve next "$next" "$cxx" serve "$next"
    serve grpc "$port" "$cxx" serve "$port" "$next"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off "$cxx" call "$next" Echo 10 >"$tmp/answers"
    [ "$(sed -n 's/^message [0-9] 00-\([0-9a-f]\{32\}\)-[0-9a-f]\{16\}-03$/\1/p' "$tmp/answers" | sort -u | wc -l)" -eq 10 ]
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off "$cxx" call "$next" Echo 10 "$parent" | cmp - <(seq -f "message %g $parent" 0 9)
    until_spans 10 '.kind == "client" and .grpc and .grpc_status == 0'
    for i in 0 1 2 3 4 5 6 7 8 9; do
        "$cxx" call "$port" Ask 1 "00-7e5700000000000000000000000000${i}0-b7ad6b716920333$i-01"
    done >"$tmp/answers"
    cat "$tmp/answers"
    # The trace of each is its caller's, where it has one; on a thread of gRPC's own that reads for others nobody knows whose a call is.
    [ "$(grep -c '^message 0' "$tmp/answers")" -eq 10 ]
    until_spans 10 '.kind == "server" and .grpc_status == 0 and .target == "/demo.v1.Demo/Ask"'
    n=0
    while read -r _ _ header; do
        [ -z "$header" ] || [[ $header == 00-7e5700000000000000000000000000${n}0-* ]]
        n=$((n + 1))
    done <"$tmp/answers"
    [ "$n" -eq 10 ]
}

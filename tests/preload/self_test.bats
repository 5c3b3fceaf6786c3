#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell
#
# `traceshim doctor --self-test`: what it says of this machine, and of objects that are not what they should be.

bats_require_minimum_version 1.5.0

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    export -n TRACESHIM_BUILD
    unset LD_PRELOAD PYTHONUNBUFFERED
    tmp=$BATS_TEST_TMPDIR
    export TRACESHIM_RUN_DIR=$tmp/run
}

# Standard input becomes an object of our name.
fake_object() {
    "${CC:-gcc}" -D_GNU_SOURCE -shared -fPIC -x c -o "$tmp/libtraceshim.so" - -ldl
}

self_test() {
    run --separate-stderr "$build/traceshim" doctor --self-test "$@"
    echo "$output"
    echo "$stderr"
}

# result NAME: what the JSON report says of one check
result() {
    jq -r --arg name "$1" '.checks[] | select(.name == $name) | .result' <<<"$output"
}

@test "the self-test finds this machine safe, and everything traced" {
    self_test
    [ "$status" -eq 0 ]
    [[ $output == *"safe to use on this machine: programs run the same, and are traced"* ]]
    [ -z "$stderr" ]
}

@test "the self-test reports as JSON" {
    self_test --json
    [ "$status" -eq 0 ]
    jq -e '.safe == true and .result == "ok" and (.checks | length) == 4' <<<"$output"
    jq -e --arg object "$(realpath "$build/libtraceshim.so")" '.object == $object' <<<"$output"
    for check in ls shell records server; do
        [ "$(result $check)" = ok ]
    done
}

@test "the caller's configuration does not decide the self-test" {
    export TRACESHIM_ENABLED=false TRACESHIM_LOG=off OTEL_SDK_DISABLED=true TRACEPARENT=wrong
    self_test
    [ "$status" -eq 0 ]
}

@test "the self-test may run under the object that it tests" {
    export LD_PRELOAD=$build/libtraceshim.so TRACESHIM_LOG=off
    self_test
    [ "$status" -eq 0 ]
}

@test "an object that does nothing is safe, and traces nothing" {
    fake_object <<<'int nothing;'
    self_test --json --library "$tmp/libtraceshim.so"
    [ "$status" -eq 1 ]
    jq -e '.safe == true and .result == "untraced"' <<<"$output"
    [ "$(result ls)" = ok ]
    [ "$(result records)" = untraced ]
    [ "$(result server)" = untraced ]
}

@test "an object under which programs fail is not safe" {
    fake_object <<<'#include <unistd.h>
__attribute__((constructor)) static void start(void) { _exit(5); }'
    self_test --json --library "$tmp/libtraceshim.so"
    [ "$status" -eq 2 ]
    jq -e '.safe == false and .result == "different"' <<<"$output"
    for check in ls shell records server; do
        [ "$(result $check)" = different ]
    done
}

@test "an object that makes programs talk is not safe" {
    fake_object <<<'#include <unistd.h>
__attribute__((constructor)) static void start(void) { if (write(2, "hello\n", 6) != 6) _exit(1); }'
    self_test --library "$tmp/libtraceshim.so"
    [ "$status" -eq 2 ]
    [[ $output == *"something else on its standard error"* ]]
    [[ $output == *"NOT safe"* ]]
}

@test "an object that loses what servers send is not safe" {
    fake_object <<<'#include <sys/socket.h>
#include <dlfcn.h>
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t (*real)(int, void *, size_t, int) = (ssize_t (*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
	ssize_t n = real(fd, buf, len, flags);
	return n > 0 ? 0 : n;
}'
    self_test --json --library "$tmp/libtraceshim.so"
    [ "$status" -eq 2 ]
    [ "$(result server)" = different ]
    [ "$(result ls)" = ok ]
}

@test "the self-test without an object is an error, and takes no program" {
    self_test --library "$tmp/missing.so"
    [ "$status" -eq 3 ]
    [[ $stderr == *"not found"* ]]
    self_test ls
    [ "$status" -eq 3 ]
}

@test "the self-test leaves no process and no file behind" {
    self_test
    [ "$status" -eq 0 ]
    run pgrep -P $$ -f self-test
    [ "$status" -eq 1 ]
    [ -z "$(ls -A "$tmp/run" 2>/dev/null)" ]
}

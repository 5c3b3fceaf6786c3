#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Descriptors that come, go and come back, bare and preloaded: same numbers, same errors, and what was known of a number
# dies with it.

load guest

setup() {
    guest_setup
}

fds() {
    same "$guests/fds_guest" "$1"
    same_files "$guests/fds_guest" "$1"
}

@test "a sweep over all numbers, by close, closefrom or close_range, closes what was there and nothing of ours" {
    fds sweep_loop
    fds sweep_closefrom
}

@test "no descriptor is kept open" {
    into bare ls /proc/self/fd
    into shim env LD_PRELOAD="$so" ls /proc/self/fd
    agree bare shim
    into bare env LD_PRELOAD= /usr/bin/python3 -c 'import os, socket
socket.create_server(("127.0.0.1", 0))
for i in range(300): os.write(1, b"line\n")
print(sorted(os.listdir("/proc/self/fd")), flush=True)'
    into shim env LD_PRELOAD="$so" /usr/bin/python3 -c 'import os, socket
socket.create_server(("127.0.0.1", 0))
for i in range(300): os.write(1, b"line\n")
print(sorted(os.listdir("/proc/self/fd")), flush=True)'
    agree bare shim
}

@test "a number that was closed by syscall comes back as something else: no header, no record gets there" {
    fds reused_after_syscall
}

@test "copies of a connection go on with the head that was begun on another number, and it is injected once" {
    fds copies_of_half_a_head
    grep -q 'injected 2' "$tmp/shim.out"
}

@test "a descriptor that was handed over is looked at anew: a connection is injected, a log is a log" {
    fds handed_over
    grep -q 'injected 2' "$tmp/shim.out"
}

@test "every call that makes a descriptor gives the same number and the same error" {
    fds every_birth
}

@test "with eight descriptors to be had, every call fails at the same point" {
    fds few_descriptors
}

@test "a program that is started with its standard output closed writes data to that number, and no records" {
    into shim bash -c 'LD_PRELOAD=$0 /usr/bin/python3 -c "
import os
fd = os.open(\"$1\", os.O_WRONLY | os.O_CREAT)
os.write(fd, b\"data on number %d\\n\" % fd)
os.set_inheritable(fd, True)
os.system(\"echo and of a child\")" >&-' "$so" "$tmp/data"
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    [ "$(<"$tmp/data")" = "data on number 1
and of a child" ]
}

@test "daemon(3) loses no line, and its standard output is no log any more" {
    fds becomes_daemon
    lacks -q 'nowhere' "$tmp/shim.out"
}

@test "errors of the kernel's are the caller's: bad descriptors, vectors, flags and messages, on pipes, logs and connections" {
    fds errors
}

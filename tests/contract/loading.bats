#!/usr/bin/env bats
#
# Loading the object harms nothing: small programs, bare and preloaded. Log rewriting is off, so that outputs compare.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    so=${TRACESHIM_BUILD:-$root/build}/libtraceshim.so
    [ -s "$so" ]
    tmp=$BATS_TEST_TMPDIR
    export -n TRACESHIM_BUILD # a guest would count it as a key that it does not know
    export TRACESHIM_LOG=off TRACESHIM_RUN_DIR=$tmp/run
}

# compile NAME [FLAG...]: standard input to $tmp/NAME
compile() {
    local name=$1
    shift
    "${CC:-gcc}" -D_GNU_SOURCE -O2 -Wall -x c -o "$tmp/$name" - -pthread "$@"
}

# Standard input must not match.
absent() {
    ! grep -qE "$@"
}

# Standard output and error are compared as one; the loader complains on standard error.
same_bare_and_preloaded() {
    local bare preloaded bare_status=0 status=0
    bare=$("$@" 2>&1) || bare_status=$?
    preloaded=$(LD_PRELOAD=$so "$@" 2>&1) || status=$?
    echo "bare ($bare_status): $bare"
    echo "preloaded ($status): $preloaded"
    [ "$preloaded" = "$bare" ]
    [ "$status" -eq "$bare_status" ]
}

@test "a program starts without a word from the loader" {
    same_bare_and_preloaded /bin/true
    same_bare_and_preloaded /bin/false
    same_bare_and_preloaded /bin/echo hello
}

@test "a small program starts with every symbol bound at load" {
    LD_BIND_NOW=1 same_bare_and_preloaded /bin/echo hello
}

@test "a program starts from an empty environment" {
    run env -i LD_PRELOAD="$so" /bin/true
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "a large program with many libraries starts with every symbol bound at load" {
    run env LD_PRELOAD="$so" LD_BIND_NOW=1 /usr/bin/python3 -c 'import socket, ssl, subprocess; print("ok")'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = ok ]
}

@test "preloading it twice loads it once" {
    ln -s "$so" "$tmp/again.so"
    for preload in "$so $so" "$so:$so" "$so $tmp/again.so"; do
        LD_PRELOAD=$preload cat /proc/self/maps >"$tmp/maps"
        [ "$(awk '$2 ~ /x/ && /\/(libtraceshim|again)\.so$/' "$tmp/maps" | wc -l)" -eq 1 ]
    done
}

@test "of two copies of it only the first works" {
    mkdir "$tmp/copy"
    cp "$so" "$tmp/copy/libtraceshim.so"
    for preload in "$so" "$so $tmp/copy/libtraceshim.so" "$tmp/copy/libtraceshim.so $so"; do
        TRACESHIM_LOG=text TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
            LD_PRELOAD=$preload /bin/sh -c 'echo hello' >"$tmp/out"
        echo "$preload: $(cat "$tmp/out")"
        [ "$(grep -o 0af7651916cd43dd8448eb211c80319c "$tmp/out" | wc -l)" -eq 1 ]
        [ "$(wc -l <"$tmp/out")" -eq 1 ]
    done
}

@test "a preload whose file is gone stops no program" {
    run env LD_PRELOAD="$tmp/gone/libtraceshim.so" /bin/echo hello
    [ "$status" -eq 0 ]
    [[ $output == *hello ]]
}

@test "another preload's wrappers still see every call, in either order" {
    compile other.so -shared -fPIC <<'C'
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t write(int fd, const void *buf, size_t len)
{
	ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	syscall(SYS_write, 9, "w", 1);
	return next(fd, buf, len);
}
C
    compile writer <<'C'
#include <unistd.h>
int main(void)
{
	return write(1, "one\n", 4) == 4 && write(1, "two\n", 4) == 4 ? 0 : 1;
}
C
    for preload in "$tmp/other.so" "$so $tmp/other.so" "$tmp/other.so $so"; do
        LD_PRELOAD=$preload "$tmp/writer" 9>"$tmp/seen" >"$tmp/out"
        [ "$(cat "$tmp/out")" = $'one\ntwo' ]
        echo "$preload: seen '$(cat "$tmp/seen")'"
        [ "$(cat "$tmp/seen")" = ww ]
    done
}

@test "a program may load it late" {
    run /usr/bin/python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1]); print("ok")' "$so"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = ok ]
}

@test "a thread with the smallest stack still starts, prints and ends" {
    compile threads <<'C'
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *run(void *arg)
{
	return write(1, "thread\n", 7) == 7 ? arg : NULL;
}
int main(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *result = NULL;
	int error;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	error = pthread_create(&thread, &attr, run, &attr);
	if (error) {
		printf("pthread_create: %d\n", error);
		return 1;
	}
	pthread_join(thread, &result);
	return result == &attr ? 0 : 2;
}
C
    same_bare_and_preloaded "$tmp/threads"
    TRACESHIM_LOG=json LD_PRELOAD=$so "$tmp/threads" | grep -q thread
}

@test "the guest gains no thread, no signal handler and no blocked signal" {
    same_bare_and_preloaded grep -E '^(Threads|SigBlk|SigIgn|SigCgt):' /proc/self/status
}

@test "the guest gains no open descriptor" {
    same_bare_and_preloaded /bin/ls /proc/self/fd
    same_bare_and_preloaded /bin/sh -c 'ls /proc/$$/fd'
}

# The object as it meets a libc before 2.34: in a copy of it the names of what is then elsewhere, or not yet there, are wrong.
object_for_an_old_libc() {
    sed -e 's/\x00dlsym\x00/\x00dlsyX\x00/g' -e 's/\x00dlvsym\x00/\x00dlvsyX\x00/' -e 's/\x00dladdr\x00/\x00dladdX\x00/' \
        -e 's/\x00pthread_key_create\x00/\x00pthread_key_creatX\x00/' \
        -e 's/\x00pthread_setspecific\x00/\x00pthread_setspecifiX\x00/' \
        -e 's/\x00__libc_single_threaded\x00/\x00__libc_single_threadeX\x00/' "$so" >"$tmp/libtraceshim.so"
    [ "$(stat -c %s "$so")" -eq "$(stat -c %s "$tmp/libtraceshim.so")" ]
    for name in dlsym dlvsym dladdr pthread_key_create pthread_setspecific __libc_single_threaded; do
        ! readelf -W --dyn-syms "$tmp/libtraceshim.so" | awk '{ sub(/@.*/, "", $8); print $8 }' | grep -qx $name || return 1
    done
    so=$tmp/libtraceshim.so
}

@test "programs run where libc has no dlsym and no thread keys, as before glibc 2.34" {
    object_for_an_old_libc
    same_bare_and_preloaded /bin/ls /
    same_bare_and_preloaded /bin/sh -c 'printf "%s\n" a b | (read -r x; echo "$x"; cat) | sort -r; exit 3'
    same_bare_and_preloaded /usr/bin/python3 -c '
import socket, subprocess, threading
a, b = socket.socketpair()
t = threading.Thread(target=lambda: a.sendall(b"x" * 100000))
t.start()
n = 0
while n < 100000: n += len(b.recv(65536))
t.join()
print(n, subprocess.check_output(["echo", "child"]))'
}

@test "lines are rewritten where libc has no dlsym" {
    object_for_an_old_libc
    TRACESHIM_LOG=json LD_PRELOAD=$so /bin/echo hello | grep '"message":"hello"'
    TRACESHIM_LOG=json LD_PRELOAD=$so /usr/bin/python3 -c 'print("from python")' | grep '"message":"from python"'
}

@test "a program of another libc starts beside it" {
    command -v musl-gcc
    CC=musl-gcc compile musl <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void)
{
	char text[] = "written\n";
	printf("printed\n");
	fflush(stdout);
	return write(1, text, sizeof(text) - 1) == sizeof(text) - 1 ? 7 : 1;
}
C
    same_bare_and_preloaded "$tmp/musl"
}

# answers PROGRAM: what a server says to one request, and its exit status after SIGTERM; its output is in $tmp/served
answers() {
    local port server status=0 i
    port=$("$root/tests/preload/free_port.py" "$$")
    "$@" "$port" 0 >"$tmp/served" 2>&1 &
    server=$!
    for ((i = 0; i < 1200; i++)); do
        ! curl -s -o /dev/null "http://127.0.0.1:$port/?n=1" || break
        sleep 0.05
    done
    curl -s "http://127.0.0.1:$port/?n=2" "http://127.0.0.1:$port/?n=3"
    kill -TERM "$server"
    wait "$server" || status=$?
    echo "status $status"
    sed -i 's/:[0-9]*$/:PORT/' "$tmp/served"
}

@test "a threaded server of another libc serves beside it" {
    CC=musl-gcc compile musl-server <"$root/tests/programs/demo_server.c"
    readelf -l "$tmp/musl-server" | grep -q ld-musl
    bare=$(answers "$tmp/musl-server")
    [[ $bare == *'"n":3'*'status 0' ]]
    cp "$tmp/served" "$tmp/bare"
    [ "$(answers env LD_PRELOAD="$so" "$tmp/musl-server")" = "$bare" ]
    diff "$tmp/bare" "$tmp/served"
}

@test "a dynamic program without any libc starts, and is left alone" {
    "${CC:-gcc}" -nostdlib -nostartfiles -pie -fPIE -fno-stack-protector -Wl,--dynamic-linker=/lib64/ld-linux-x86-64.so.2 -x c \
        -o "$tmp/free" - <<'C'
static long call(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}
void _start(void)
{
	static const char text[] = "no libc\n";
	call(231, call(1, 1, (long)text, sizeof(text) - 1) == sizeof(text) - 1 ? 9 : 1, 0, 0);
}
C
    readelf -d "$tmp/free" | absent NEEDED
    readelf -l "$tmp/free" | grep -q INTERP
    run "$tmp/free"
    [ "$output" = "no libc" ] && [ "$status" -eq 9 ]
    same_bare_and_preloaded "$tmp/free"
    TRACESHIM_LOG=json same_bare_and_preloaded "$tmp/free"
}

@test "an exit status and a death by signal come through" {
    same_bare_and_preloaded /bin/sh -c 'exit 42'
    same_bare_and_preloaded /bin/sh -c 'kill -TERM $$'
}

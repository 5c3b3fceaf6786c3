#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Streams of libc, bare and preloaded: what a program prints, by whatever function, becomes records; what calls return, how
# the program ends, and what lies in other files stays as it is.

load guest

setup() {
    guest_setup
}

# stdio CASE...: same output, through pipes and into files
stdio() {
    local case
    for case in "$@"; do
        echo "# $case"
        same "$guests/stdio_guest" "$case" "$tmp/file"
        same_files "$guests/stdio_guest" "$case" "$tmp/file"
    done
}

@test "every function that prints passes the hooked streams, also those that write inside libc" {
    stdio every_function
    whole
    # Nothing got past: each line is a record of the stream that it was printed to.
    [ "$(jq -r .message "$tmp/shim.out" | wc -l)" -eq 8 ]
    jq -e -s 'all(.stream == "stdout")' "$tmp/shim.out"
    jq -e -s 'all(.stream == "stderr") and (map(.message) | index("pieces-2-x end") != null)' "$tmp/shim.err"
}

@test "wide streams print the same" {
    stdio wide blocks_of_wide
}

@test "each buffering mode and buffer size gives whole lines" {
    stdio buffers
    whole
}

@test "inlined putc_unlocked is caught" {
    stdio unlocked
    whole
}

@test "a line that begins within a piece of what is printed has a time of its own" {
    gcc -Wall -o "$tmp/server" -x c - <<'END'
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd, i;
	socklen_t len = sizeof(at);
	char request[4096], piece[40];
	int at_byte, pieces = 0;
	FILE *port;
	if (argc != 2 || bind(listener, (void *)&at, len) || listen(listener, 1) || getsockname(listener, (void *)&at, &len)) return 1;
	port = fopen(argv[1], "w");
	fprintf(port, "%d\n", ntohs(at.sin_port));
	fclose(port);
	fd = accept(listener, NULL, NULL);
	if (read(fd, request, sizeof(request)) <= 0) return 1;
	for (i = 0; i < 4; i++, usleep(50000)) printf(i % 2 ? " end\nat %d" : "\nat %d", i);
	/* A line begins somewhere in each piece, and never behind it. */
	for (i = 2; i <= 40; i++)
		for (at_byte = 0; at_byte < i - 1; at_byte += i > 5 && at_byte + i / 3 < i - 2 ? i / 3 : 1, usleep(12000)) {
			memset(piece, 'a' + i % 26, sizeof(piece));
			piece[at_byte] = '\n';
			fwrite(piece, 1, i, stdout);
			pieces++;
		}
	printf("\n%d pieces\n", pieces);
	return write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38) != 38;
}
END
    LD_PRELOAD=$so "$tmp/server" "$tmp/port" >"$tmp/log" 3>&- &
    for _ in {1..3000}; do [ -s "$tmp/port" ] && break || sleep 0.02; done
    curl -sf --max-time 20 "http://127.0.0.1:$(<"$tmp/port")/"
    wait $!
    # Never sooner than it slept.
    jq -r 'select(.message | test("^at ")) | .timestamp' "$tmp/log" | sed 's/Z$//' | while read -r at; do date -u -d "$at" +%s%N; done >"$tmp/times"
    [ "$(wc -l <"$tmp/times")" -eq 4 ]
    awk 'NR > 1 && $1 - before < 40000000 { exit 1 } { before = $1 }' "$tmp/times"
    pieces=$(jq -r 'select(.message | test("^[0-9]+ pieces$")) | .message' "$tmp/log")
    # The first line that begins in a piece is in the second one's record: see the loop above.
    jq -r 'select(.message | test("^[a-z]+$")) | .timestamp' "$tmp/log" | sed 's/.*:\([0-9.]*\)Z$/\1/' >"$tmp/times"
    [ "$(wc -l <"$tmp/times")" -eq "${pieces% pieces}" ]
    awk 'NR > 1 { passed = $1 - before; if (passed < 0) passed += 60; if (passed < 0.008) exit 1 } { before = $1 }' "$tmp/times"
}

@test "eight threads that print to one stream do not tear a line" {
    FILTER="sort" stdio threads
    whole
    [ "$(wc -l <"$tmp/shim.out")" -eq 16000 ]
}

@test "freopen and dup2 lead a stream to a file that is no log, where its bytes stay as they are" {
    for case in reopen duplicate; do
        stdio $case
        [ "$(<"$tmp/file")" = "into the file" ]
        whole
    done
}

@test "a half line goes out before its descriptor is replaced or closed" {
    stdio half_line_then_replaced half_line_then_closed
    stdio half_line_then_replaced
    [ "$(<"$tmp/file")" = "into the file" ]
}

@test "a closed stream has let go of everything" {
    stdio ends_closed closes_all
}

@test "a stream on a log says the same of its position" {
    same "$guests/stdio_guest" seeks # in a file, records are longer than lines
}

@test "lines of a megabyte come out whole, in marked parts" {
    stdio huge
    [ "$(jq -s 'map(select(.partial_last)) | length' "$tmp/shim.out")" -eq 2 ]
}

@test "a line that lies across two flushes of a buffer is one record, also at exit and in a fork's child" {
    stdio blocks exit_handler forks_with_a_full_buffer
    whole
    FILTER="sort" stdio forks_half_flushed
    whole
}

@test "a half-flushed line does not age while its stream still holds the rest" {
    stdio waits_half_flushed
    whole
}

@test "a partial line is not lost, however the process ends" {
    stdio half_exit half_unflushed_exit half__exit half_quick_exit quick_exit_handler half_abort half_exec half_return_of_main
}

@test "a reader that went away shows as the same error at the same call" {
    local case
    for case in reports_errors reports_errors_early; do
        into bare bash -c '"$@" | true; exit "${PIPESTATUS[0]}"' - "$guests/stdio_guest" "$case"
        into shim bash -c 'LD_PRELOAD=$0 "$@" | true; exit "${PIPESTATUS[0]}"' "$so" "$guests/stdio_guest" "$case"
        agree bare shim
        grep -q 'EPIPE\|ferror: 1' "$tmp/bare.err"
    done
    # By signal, when nobody asked otherwise.
    into bare bash -c 'yes | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"'
    into shim bash -c 'LD_PRELOAD=$0 yes | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"' "$so"
    cmp "$tmp/bare.out" "$tmp/shim.out"
    [ "$(<"$tmp/shim.out")" -eq 141 ]
}

@test "a full device and a file that may not grow show as the same error" {
    stdio no_room
    [ "$(<"$tmp/shim.status")" -eq 3 ]
    for tool in "echo x" "seq 100000" "cat /proc/self/maps" "python3 -uc 'print(5)'" "perl -e 'print 5'"; do
        into bare bash -c "/usr/bin/$tool >/dev/full"
        into shim bash -c "LD_PRELOAD=$so exec /usr/bin/$tool >/dev/full"
        agree bare shim
        [ -s "$tmp/bare.err" ] || [[ $tool == perl* ]]
    done
}

@test "memory that is writable or executable, but never both, is enough to hook the streams" {
    # PR_SET_MDWE, 6.3. Where the kernel has none, the run is an ordinary one.
    cat >"$tmp/mdwe.c" <<'EOF'
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) { return prctl(65, 1, 0, 0, 0) == 99 || argc < 2 || execvp(argv[1], argv + 1); }
EOF
    gcc -o "$tmp/mdwe" "$tmp/mdwe.c"
    same "$tmp/mdwe" "$guests/stdio_guest" every_function
    [ "$(wc -l <"$tmp/shim.out")" -eq 8 ]
}

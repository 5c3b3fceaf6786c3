#!/usr/bin/env bats
# shellcheck disable=SC2154,SC2016 # what the shells in here expand is theirs
#
# Logs, as bytes: through pipes that are full and non-blocking, in any pieces, of any content, nothing is lost, doubled or
# torn, and every call returns the count of the program's own bytes.

load guest

setup() {
    guest_setup
    cat >"$tmp/reader.py" <<'EOF'
# Reads in pieces of changing size, now and then with a rest.
import os, time
i = 0
while data := os.read(0, (1, 7, 100, 4096, 3000)[i % 5]):
    os.write(1, data)
    i += 1
    if i % 64 == 0:
        time.sleep(0.001)
EOF
}

# slowly NAME COMMAND...: run it, with a slow reader on its standard output
slowly() {
    into "$1" bash -c '"${@:2}" | /usr/bin/python3 "$1"; exit "${PIPESTATUS[0]}"' - "$tmp/reader.py" "${@:2}"
}

same_slowly() {
    slowly bare "$@"
    slowly shim env LD_PRELOAD="$so" "$@"
    agree bare shim
    [ "$(<"$tmp/shim.status")" -eq 0 ]
}

@test "a non-blocking pipe with a slow reader: not one byte is lost or doubled, and counts are the program's" {
    local case
    for case in lines blocks vectors; do
        same_slowly "$guests/logs_guest" $case
        whole
        [ "$(wc -l <"$tmp/shim.out")" -eq 3000 ]
    done
}

@test "what a full pipe does not take at once is refused whole: a program that drops lines drops no more than it is told" {
    slowly shim env LD_PRELOAD="$so" "$guests/logs_guest" drops
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.out"
    whole
    # Those that the program was told are taken, and no other.
    diff <(unwrap "$tmp/shim.out" | sed 's/.* //') <(unwrap "$tmp/shim.err")
    [ "$(wc -l <"$tmp/shim.out")" -lt 20000 ]
}

@test "several processes on one pipe do not tear each other's records" {
    slowly shim env LD_PRELOAD="$so" bash -c 'for i in 1 2 3 4; do "$0" blocks & "$0" lines & done; wait' "$guests/logs_guest"
    # Records over PIPE_BUF are written by more than one write, as lines of that length are without us.
    awk 'length($0) < 4000' "$tmp/shim.out" >"$tmp/short"
    [ "$(wc -l <"$tmp/short")" -gt 20000 ]
    grep -c '^{"timestamp".*}$' "$tmp/short"
}

@test "lines of any content are records: empty, of NUL and control bytes, of no valid encoding, with carriage returns" {
    /usr/bin/python3 -c '
import sys
out = sys.stdout.buffer
out.write(b"\n\n \n\ttab\n\"quoted\" \\ back\\slash\n\x00nul\x00\n\x1b[31mred\x1b[0m\nr\rrr\n\x7f\n\xc2\x80\n\xe2\x82\xac\n\xf0\x9f\x98\x80\n")
out.write(b"[1,2]\nnull\n{\"open\":\n}\n")' >"$tmp/content"
    same cat "$tmp/content"
    [ "$(wc -l <"$tmp/shim.out")" -eq "$(wc -l <"$tmp/content")" ]
    # What is an object already is spliced, not wrapped.
    into shim env LD_PRELOAD="$so" printf '{}\n{"a":1.10,"a":2}\n  {"indented": true}\n'
    records "$tmp/shim.out"
    [ "$(jq -s 'map(has("message")) | any' "$tmp/shim.out")" = false ]
    grep -qF '"a":1.10,"a":2' "$tmp/shim.out"
    # Each byte value, alone and in a row: one record a line, valid, none missing.
    /usr/bin/python3 -c '
import sys
for i in range(256):
    if i != 10:
        sys.stdout.buffer.write(b"%d " % i + bytes([i]) * 3 + b"\n")' >"$tmp/content"
    into shim env LD_PRELOAD="$so" cat "$tmp/content"
    records "$tmp/shim.out"
    [ "$(jq -r .message "$tmp/shim.out" | grep -aoE '^[0-9]+' | sort -n | uniq | wc -l)" -eq 255 ]
}

@test "a program's several writes a line are one record: python unbuffered, perl to stderr" {
    same /usr/bin/python3 -u -c 'print("a", 1, "b", 2.5); print(*range(10), sep="-", end="!\n")'
    [ "$(wc -l <"$tmp/shim.out")" -eq 2 ]
    same perl -e 'print STDERR "a", "b", 1, "\n"; warn "c", "d", "\n"'
    [ "$(wc -l <"$tmp/shim.err")" -eq 2 ]
}

@test "an unfinished line does not wait for ever: it goes out with a later write to its log" {
    into shim env LD_PRELOAD="$so" /usr/bin/python3 -u -c '
import os, threading, time
def other():
    os.write(1, b"half a line of a thread that waits")
    written.set()
    done.wait()
written, done = threading.Event(), threading.Event()
thread = threading.Thread(target=other)
thread.start()
written.wait()
for i in range(13):
    time.sleep(0.1)
    os.write(1, b"tick\n")
os.write(1, b"end\n")
done.set()
thread.join()'
    records "$tmp/shim.out"
    unwrap "$tmp/shim.out" | grep -q 'half a line of a thread that waitstick'
    [ "$(jq -r 'select(.partial) | .message' "$tmp/shim.out")" = "half a line of a thread that waits" ]
}

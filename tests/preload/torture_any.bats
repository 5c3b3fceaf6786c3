#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, all else: forks in handlers, coroutines, libraries that come and go, spawned children; programs that the object
# cannot be loaded into.

load guest
load torture

setup() {
    torture_setup
}

@test "a handler that forks in the midst of writes, calls and forks: its children log and send, and nothing hangs" {
    # How many lines there are is up to the clock; that each is whole, and of which kinds, is not.
    FILTER="sort -u" torture "$guests/torture_any" forks_in_handlers
}

@test "coroutines on stacks of 8 KiB serve, log and answer" {
    torture "$guests/torture_any" coroutines
}

@test "threads that load and unload libraries while they log" {
    ORDER=any FILTER="sort" torture "$guests/torture_any" loading_threads
}

@test "children that are spawned with changed descriptors, or waited for by one" {
    torture "$guests/torture_any" spawns
}

@test "pages that are given to pipes, and copied between them" {
    torture "$guests/torture_any" gifts
}

@test "a line without a buffer that is begun before the first request, and ended behind it, is one line" {
    torture "$guests/torture_any" line_across_first_request
}

@test "a half line on stderr is none of the streams' that are closed meanwhile" {
    torture "$guests/torture_any" half_line_beside_a_close
    for how in into into_files; do
        [ "$(jq -s 'map(select(.message | startswith("begun"))) | length' "$tmp/$how.shim.err")" -eq 1 ]
        lacks -q partial "$tmp/$how.shim.err"
    done
}

@test "a 32-bit child runs as bare, and its loader says once that it leaves the object out" {
    cat >"$tmp/small.c" <<'EOF'
static int call(int number, int a, const void *b, int c)
{
	int result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}
void _start(void)
{
	call(4, 1, "32 bits\n", 8);
	call(1, 5, 0, 0);
}
EOF
    gcc -m32 -nostdlib -fno-stack-protector -fpie -pie -Wl,-dynamic-linker,/lib/ld-linux.so.2 -o "$tmp/small" "$tmp/small.c"
    for kind in bare shim; do
        preload=()
        [ "$kind" = bare ] || preload=(env LD_PRELOAD="$so")
        into "$kind" "${preload[@]}" sh -c "echo before; '$tmp/small'; echo status \$?; echo behind >&2"
    done
    # The child's own line is raw: it is the log's only one that is no record.
    grep -qx '32 bits' "$tmp/shim.out"
    [ "$(grep -cv '^{' "$tmp/shim.out")" -eq 1 ]
    grep -v '^{' "$tmp/shim.err" >"$tmp/said"
    [ "$(wc -l <"$tmp/said")" -eq 1 ]
    grep -q 'cannot be preloaded (wrong ELF class' "$tmp/said"
    grep -v 'wrong ELF class' "$tmp/shim.err" >"$tmp/rest"
    mv "$tmp/rest" "$tmp/shim.err"
    loosely bare shim
}

@test "a program with capabilities of its file, run by another user, drops us and runs the same" {
    if [ "$(id -u)" -ne 0 ]; then skip "only root can run a program as another user"; fi
    mkdir -p "$tmp/open"
    chmod 755 "$tmp/open"
    cp "$(command -v cat)" "$tmp/open/cat"
    # That user may have no way into the build's folder.
    cp "$so" "$tmp/open/"
    # Where the file system keeps none, the bit of setgid has the same effect on the loader.
    setcap cap_net_raw+ep "$tmp/open/cat" || chmod g+s "$tmp/open/cat"
    for folder in "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$tmp"; do chmod a+x "$folder"; done
    for kind in bare shim; do
        preload=()
        [ "$kind" = bare ] || preload=(env LD_PRELOAD="$tmp/open/libtraceshim.so")
        into "$kind" "${preload[@]}" setpriv --reuid=65534 --regid=65533 --clear-groups --inh-caps=-all \
            "$tmp/open/cat" /proc/self/maps
        grep -c libtraceshim "$tmp/$kind.out" >"$tmp/$kind.count" || true
        [ "$(<"$tmp/$kind.status")" -eq 0 ]
        [ "$(<"$tmp/$kind.count")" -eq 0 ]
    done
    # Without them it is there: the test can tell.
    cp "$(command -v cat)" "$tmp/open/plain"
    into plain env LD_PRELOAD="$tmp/open/libtraceshim.so" setpriv --reuid=65534 --regid=65533 --clear-groups "$tmp/open/plain" /proc/self/maps
    grep -q libtraceshim "$tmp/plain.out"
}

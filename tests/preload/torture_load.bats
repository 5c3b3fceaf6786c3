#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, how a process is put together: other preloads above and beneath us, ways to link, libraries that are opened later.

load guest
load torture

setup() {
    torture_setup
}

# library NAME: its path, as the loader knows it
library() {
    /sbin/ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }'
}

# each_case: a few programs of the set that touch everything
each_case() {
    torture "$guests/torture_bytes" dup_in_head
    torture "$guests/torture_bytes" logs_come_and_go
    torture "$guests/torture_signals" jumps_out_of_waits
}

@test "an allocator above us and beneath us" {
    local jemalloc
    jemalloc=$(library libjemalloc.so.2)
    [ -e "$jemalloc" ]
    ABOVE=$jemalloc each_case
    BENEATH=$jemalloc each_case
    BENEATH=$jemalloc torture "$guests/torture_limits" no_file_size
}

@test "a library that fakes the time, above us and beneath us" {
    local faketime=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1
    [ -e "$faketime" ]
    export FAKETIME="@2001-02-03 04:05:06" FAKETIME_DONT_FAKE_MONOTONIC=1
    ABOVE=$faketime torture "$guests/torture_bytes" dup_in_head
    BENEATH=$faketime torture "$guests/torture_bytes" logs_come_and_go
    # Records have the program's time.
    jq -e -s 'all(.timestamp | startswith("2001-02-03T"))' "$tmp/into.shim.out" >/dev/null
}

@test "an address sanitizer that is preloaded, and programs that were built with one" {
    local asan
    asan=$(gcc -print-file-name=libasan.so)
    asan=$(readlink -f "$asan")
    export ASAN_OPTIONS=detect_leaks=0
    ABOVE=$asan torture "$guests/torture_bytes" dup_in_head
    gcc -std=gnu11 -D_GNU_SOURCE -O1 -fsanitize=address,undefined -pthread -o "$tmp/sanitized" "$root/tests/programs/torture_bytes.c"
    ABOVE=$asan torture "$tmp/sanitized" reused_number
    # Else it asks to be the first.
    export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
    torture "$tmp/sanitized" dup_in_head
    torture "$tmp/sanitized" receives_requests
}

@test "ourselves twice, and by two paths, in every order with others" {
    local jemalloc again=$tmp/again/libtraceshim.so
    jemalloc=$(library libjemalloc.so.2)
    mkdir "$tmp/again"
    cp "$so" "$again"
    into bare "$guests/torture_bytes" dup_in_head "$(mktemp -d)"
    for preload in "$so $so" "$so $again" "$again:$so:$jemalloc" "$so:$jemalloc:$again" "$jemalloc:$again:$again:$so"; do
        echo "# $preload"
        rm -rf "$tmp/one" "$tmp/two"
        mkdir "$tmp/one" "$tmp/two"
        into bare "$guests/torture_bytes" logs_come_and_go "$tmp/one"
        TRACESHIM_LOG_FILES="$tmp/two/*.log" into shim env LD_PRELOAD="$preload" "$guests/torture_bytes" logs_come_and_go "$tmp/two"
        agree bare shim
        records "$tmp/two/app.log"
        unwrap "$tmp/two/app.log" | cmp - "$tmp/one/app.log"
        rm -rf "$tmp/one" "$tmp/two"
        mkdir "$tmp/one" "$tmp/two"
        into bare "$guests/torture_bytes" dup_in_head "$tmp/one"
        into shim env LD_PRELOAD="$preload" "$guests/torture_bytes" dup_in_head "$tmp/two"
        /usr/bin/python3 "$BATS_TEST_DIRNAME/torture.py" "$tmp/one" "$tmp/two"
    done
}

@test "every way to link: at fixed addresses with copies of libc's variables, without PLT, bound at once, static, static and moved" {
    local flags program="$root/tests/programs/torture_bytes.c"
    for flags in "-no-pie -fno-pie -fno-plt" "-fno-plt -Wl,-z,now -Wl,-z,relro" "-Wl,-z,lazy -D_FORTIFY_SOURCE=2 -O2"; do
        echo "# $flags"
        # shellcheck disable=SC2086 # several of them
        gcc -std=gnu11 -D_GNU_SOURCE -O1 -pthread -Wno-cpp $flags -o "$tmp/linked" "$program"
        HOWS=into_files torture "$tmp/linked" logs_come_and_go
        HOWS=into torture "$tmp/linked" dup_in_head
    done
    gcc -std=gnu11 -D_GNU_SOURCE -O1 -pthread -no-pie -fno-pie -o "$tmp/linked" "$root/tests/programs/torture_limits.c"
    readelf -rW "$tmp/linked" | grep -q 'R_X86_64_COPY.*stdout' # it lies in the program
    HOWS=into torture "$tmp/linked" no_file_size
    torture "$tmp/linked" opens_files
    for flags in -static -static-pie; do
        echo "# $flags"
        # shellcheck disable=SC2086 # as above
        gcc -std=gnu11 -D_GNU_SOURCE -O1 -pthread $flags -o "$tmp/linked" "$program"
        # Nothing of ours is in it.
        mkdir "$tmp/one$flags" "$tmp/two$flags"
        into bare "$tmp/linked" logs_come_and_go "$tmp/one$flags"
        into shim env LD_PRELOAD="$so" "$tmp/linked" logs_come_and_go "$tmp/two$flags"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        cmp "$tmp/bare.status" "$tmp/shim.status"
        cmp "$tmp/one$flags/trail" "$tmp/two$flags/trail"
    done
}

@test "libraries that are needed, opened with each flag, and opened in a space of their own" {
    gcc -O1 -shared -fPIC -o "$tmp/plugin.so" "$BATS_TEST_DIRNAME/libs/plugin.c"
    export TORTURE_PLUGIN=$tmp/plugin.so
    # A library whose constructor comes before ours, and one in a space of its own, print what passes as it is.
    AGREE=loosely torture "$guests/torture_load" every_flag
    AGREE=loosely torture "$guests/torture_load" spaces
    gcc -std=gnu11 -D_GNU_SOURCE -O1 -pthread -o "$tmp/linked" "$root/tests/programs/torture_load.c" -Wl,--no-as-needed "$tmp/plugin.so"
    AGREE=loosely torture "$tmp/linked" needed
    ABOVE=$tmp/plugin.so AGREE=loosely torture "$guests/torture_bytes" dup_in_head
    BENEATH=$tmp/plugin.so AGREE=loosely torture "$guests/torture_bytes" dup_in_head
}

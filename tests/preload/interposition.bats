#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Ways into a process, and what else is in it: other preloads, early constructors, allocators, dlopen, other libcs, rights,
# no memory. What cannot be traced runs as if we were not there.

load guest

setup() {
    guest_setup
    cd "$tmp" || return 1
}

# library NAME: tests/preload/libs/NAME.c, built as $tmp/NAME.so
library() {
    gcc -D_GNU_SOURCE -shared -fPIC -O2 -Wall -Wextra -o "$tmp/$1.so" "$BATS_TEST_DIRNAME/libs/$1.c"
}

# program NAME [FLAG...]: standard input, compiled to $tmp/NAME
program() {
    "${CC:-gcc}" -D_GNU_SOURCE -O2 -x c -o "$tmp/$1" - "${@:2}"
}

hello='#include <stdio.h>
#include <unistd.h>
int main(void) { printf("printed %d\n", 1); fflush(stdout); return write(1, "written\n", 8) == 8 ? 3 : 4; }'

@test "calls that succeed leave errno alone, each hook's" {
    same "$guests/errno_guest"
    unwrap "$tmp/shim.out" | grep -qx 'told 0'
}

@test "another preload, before us or after us, sees its calls; ours twice, by two paths, writes one record a line" {
    local preload
    library stingy
    cp "$so" "$tmp/libtraceshim.so"
    into bare "$guests/stdio_guest" every_function
    for preload in "$so:$tmp/stingy.so" "$tmp/stingy.so:$so" "$so $so" "$so:$tmp/libtraceshim.so" "$tmp/libtraceshim.so:$so:$tmp/libtraceshim.so"; do
        echo "# $preload"
        into shim env LD_PRELOAD="$preload" "$guests/stdio_guest" every_function
        agree bare shim
        [ "$(wc -l <"$tmp/shim.out")" -eq 8 ]
        lacks -F '\"message\"' "$tmp/shim.out"
    done
}

@test "a preload that is gone is a warning of the loader's, and nothing else" {
    into bare /bin/echo hello
    into shim env LD_PRELOAD="$tmp/gone.so" /bin/echo hello
    cmp "$tmp/bare.out" "$tmp/shim.out"
    cmp "$tmp/bare.status" "$tmp/shim.status"
}

@test "code that runs before our constructor, an allocator that opens and writes as it starts, and destructors after ours" {
    local preload
    library early
    into bare env LD_PRELOAD="$tmp/early.so" LATE=1 "$guests/stdio_guest" every_function
    for preload in "$so:$tmp/early.so" "$tmp/early.so:$so"; do
        into shim env LD_PRELOAD="$preload" LATE=1 "$guests/stdio_guest" every_function
        loosely bare shim
        [ "$(grep -c '^{' "$tmp/shim.out")" -ge 9 ]
        # The one that is named last starts first: before us, its lines pass as they are.
        [[ $preload != "$so":* ]] || [ "$(grep -c '^early' "$tmp/shim.out")" -eq 5 ]
    done
}

@test "memory that runs out at any of our maps costs records, never bytes" {
    local at case
    library nommap
    for case in every_function huge; do
        into bare "$guests/stdio_guest" $case
        for at in 0 1 2 3 5; do
            echo "# $case, map $at"
            into shim env NOMMAP=$at LD_PRELOAD="$so:$tmp/nommap.so" "$guests/stdio_guest" $case
            loosely bare shim
        done
    done
    into bare "$guests/fds_guest" errors
    for at in 0 1 2 3 5; do
        into shim env NOMMAP=$at LD_PRELOAD="$so:$tmp/nommap.so" "$guests/fds_guest" errors
        loosely bare shim
    done
}

@test "RTLD_DEEPBIND is taken off, so that a library's calls are seen" {
    program deep.so -shared -fPIC <<'EOF'
#include <unistd.h>
int speak(void) { return write(1, "from the library\n", 17) == 17; }
EOF
    program deep <<'EOF'
#include <dlfcn.h>
int main(int argc, char **argv)
{
    void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_DEEPBIND);
    int (*speak)(void) = (int (*)(void))dlsym(library, "speak");
    return speak() ? 5 : 6;
}
EOF
    same ./deep ./deep.so
    [ "$(<"$tmp/shim.status")" -eq 5 ]
}

@test "dlopen finds what its caller finds: by RUNPATH, by \$ORIGIN; and its errors are the caller's" {
    mkdir -p app/plug
    program app/plug/libplug.so -shared -fPIC <<<'const char *name(void) { return "found"; }'
    program app/user -Wl,-rpath,'$ORIGIN/plug',--enable-new-dtags <<'EOF'
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
    void *library;
    printf("%d\n", dlopen("libnone.so", RTLD_NOW) != NULL);
    printf("%s\n", dlerror());
    library = dlopen("libplug.so", RTLD_LAZY);
    printf("%s\n", library ? ((const char *(*)(void))dlsym(library, "name"))() : dlerror());
    printf("%d\n", dlopen(NULL, RTLD_NOW) != NULL);
    return library == NULL;
}
EOF
    # And from inside a library, whose path the program does not have.
    program app/plug/libuser.so -shared -fPIC -Wl,-rpath,'$ORIGIN',--enable-new-dtags <<'EOF'
#include <dlfcn.h>
int find(void) { return dlopen("libplug.so", RTLD_NOW) != 0; }
EOF
    program app/other -Lapp/plug -luser -Wl,-rpath,'$ORIGIN/plug',--enable-new-dtags <<'EOF'
int find(void);
int main(void) { return find() ? 7 : 8; }
EOF
    same app/user
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    same app/other
    [ "$(<"$tmp/shim.status")" -eq 7 ]
}

@test "a namespace of its own, made by dlmopen, is left alone" {
    program space <<'EOF'
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    int (*other)(const char *) = (int (*)(const char *))dlsym(libc, "puts");
    int (*flush)(FILE *) = (int (*)(FILE *))dlsym(libc, "fflush");
    puts("ours");
    fflush(stdout);
    other("theirs");
    flush(NULL);
    return write(1, "ours again\n", 11) == 11 ? 2 : 1;
}
EOF
    into bare ./space
    into shim env LD_PRELOAD="$so" ./space
    loosely bare shim
    [ "$(grep -c '^{.*ours' "$tmp/shim.out")" -eq 2 ]
}

@test "every way to link a program: bound at load, without PLT, at a fixed address, in C++, and statically" {
    program plain <<<"$hello"
    program no_plt -fno-plt -Wl,-z,now,-z,relro <<<"$hello"
    program fixed -no-pie <<<"$hello"
    program hardened -D_FORTIFY_SOURCE=2 -fstack-protector-all -pie -fPIE <<<"$hello"
    LD_BIND_NOW=1 same ./plain
    for guest in plain no_plt fixed hardened; do
        same ./$guest
        [ "$(<"$tmp/shim.status")" -eq 3 ]
        [ "$(wc -l <"$tmp/shim.out")" -eq 2 ]
    done
    program static -static <<<"$hello"
    into bare ./static
    into shim env LD_PRELOAD="$so" ./static
    cmp "$tmp/bare.out" "$tmp/shim.out"
    cmp "$tmp/bare.status" "$tmp/shim.status"
}

@test "a program of musl's runs the same" {
    CC=musl-gcc program musl <<<"$hello"
    into bare ./musl
    into shim env LD_PRELOAD="$so" ./musl
    loosely bare shim
    [ "$(<"$tmp/shim.status")" -eq 3 ]
}

@test "a setuid program drops us, and runs the same" {
    if [ "$(id -u)" -ne 0 ]; then skip "only root can make a setuid program for another user"; fi
    program who <<<'
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d\n", (int)getuid(), (int)geteuid()); return 0; }'
    # The loader drops a path from the environment there, so the run is bare.
    chmod 755 "$tmp" "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" 2>/dev/null
    chmod 4755 who
    into bare setpriv --reuid=65534 --regid=65534 --clear-groups ./who
    into shim env LD_PRELOAD="$so" setpriv --reuid=65534 --regid=65534 --clear-groups ./who
    cmp "$tmp/bare.out" "$tmp/shim.out"
    [ "$(<"$tmp/shim.out")" = "65534 0" ]
}

@test "a switched-off object does nothing at all" {
    into bare "$guests/stdio_guest" every_function
    into shim env TRACESHIM_ENABLED=0 LD_PRELOAD="$so" "$guests/stdio_guest" every_function
    cmp "$tmp/bare.out" "$tmp/shim.out"
    cmp "$tmp/bare.err" "$tmp/shim.err"
}

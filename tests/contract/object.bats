#!/usr/bin/env bats
#
# What the built object promises to every process that loads it. Read with readelf; nothing is run.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    so=$build/libtraceshim.so
    [ -s "$so" ]
}

# Names of the dynamic symbols whose section is (not) UND, with their versions.
defined_symbols() {
    readelf -W --dyn-syms "$so" | awk '$1 ~ /^[0-9]+:$/ && $7 != "UND" { print $8 }' | sort
}

undefined_symbols() {
    readelf -W --dyn-syms "$so" | awk '$1 ~ /^[0-9]+:$/ && $7 == "UND" && $8 != "" { sub(/@.*/, "", $8); print $8 }' | sort
}

listed_symbols() {
    awk '{ sub(/#.*/, "") } NF { print $1 }' "$root/hooks/symbols.list" | sort
}

# fail_if_any MESSAGE LINES: the lines are what should not be there
fail_if_any() {
    [ -z "$2" ] || { printf '%s:\n%s\n' "$1" "$2"; false; }
}

# Standard input (or a file) must not match. A plain `!` would fail a test only on its last line.
absent() {
    ! grep -qE "$@"
}

@test "exports are exactly the symbols of hooks/symbols.list" {
    [ -n "$(listed_symbols)" ]
    fail_if_any "listed (<) against exported (>)" "$(diff <(listed_symbols) <(defined_symbols))"
}

@test "exports carry no version, which would keep them from interposing" {
    [ -n "$(defined_symbols)" ]
    fail_if_any "versioned" "$(defined_symbols | grep @)"
    readelf -W --sections "$so" | absent '\.gnu\.version_d'
}

@test "every export but data is a function" {
    fail_if_any "not a function" \
        "$(readelf -W --dyn-syms "$so" | awk '$1 ~ /^[0-9]+:$/ && $7 != "UND" && $4 != "FUNC" && $4 != "IFUNC" { print $8 }')"
}

@test "needs libc and nothing else" {
    run bash -c "readelf -d '$so' | awk '/NEEDED/ { print \$NF }'"
    [ "$status" -eq 0 ]
    [ "$output" = "[libc.so.6]" ]
}

@test "needs no symbol version newer than glibc 2.17" {
    newest=$(readelf -W --version-info "$so" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    echo "newest: $newest"
    [[ $newest == GLIBC_2.* ]]
    [ "$(printf '%s\n' "$newest" GLIBC_2.17 | sort -V | tail -n 1)" = GLIBC_2.17 ]
    readelf -d "$so" | absent 'RELR'
}

@test "needs nothing strongly that glibc kept in libdl or libpthread before 2.34" {
    fail_if_any "strong" "$(readelf -W --dyn-syms "$so" | awk '$7 == "UND" && $5 != "WEAK" { sub(/@.*/, "", $8); print $8 }' |
        grep -E '^(dl[a-z]+|pthread_.*|sem_.*)$' | grep -vx dl_iterate_phdr)"
}

@test "imports nothing that allocates, prints, locks, ends the process or starts a thread" {
    banned='^(malloc|calloc|realloc|reallocarray|free|strdup|strndup|posix_memalign|aligned_alloc|memalign|asprintf|'
    banned+='vasprintf|printf|fprintf|vprintf|vfprintf|dprintf|vdprintf|sprintf|vsprintf|puts|fputs|fputc|putchar|fwrite|'
    banned+='fread|fopen|fdopen|fclose|fgets|getline|perror|syslog|err|errx|warn|warnx|'
    banned+='exit|_exit|_Exit|quick_exit|abort|raise|__assert_fail|atexit|on_exit|'
    banned+='pthread_mutex_lock|pthread_mutex_trylock|pthread_rwlock_.*|pthread_cond_.*|pthread_once|pthread_create|'
    banned+='thrd_create|sem_wait|sem_post|signal|sigaction|setitimer|timer_create|alarm|fork|vfork|system|popen|'
    banned+='setlocale|strtok|strcpy|strcat|gets|getaddrinfo|localtime|localtime_r|mktime|putenv|unsetenv)$'
    # Allowed on purpose, on the program's own thread and never in a signal handler: fflush of a log stream that the program
    # closes in the same call, and setenv for Python's start and before system(3).
    fail_if_any "banned" "$(undefined_symbols | grep -E "$banned")"
}

@test "imports no fortified function and no stack protector, which other libcs lack and which abort the host" {
    fail_if_any "checked functions" "$(undefined_symbols | grep -E '_chk$|^__stack_chk|^__fortify')"
}

@test "never reaches one of its own hooks by symbol" {
    own=$(readelf -W --relocs "$so" | awk '$3 ~ /^R_/ && NF >= 5 { sub(/@.*/, "", $5); print $5 }' | sort -u |
        comm -12 - <(listed_symbols | sort -u))
    fail_if_any "relocations against our own exports" "$own"
}

@test "has no text relocations" {
    readelf -d "$so" | absent TEXTREL
}

@test "has a stack that is not executable, and no segment that is writable and executable" {
    readelf -W --segments "$so" | grep -qE 'GNU_STACK .* RW +0x'
    fail_if_any "writable and executable" "$(readelf -W --segments "$so" | grep -E ' RWE ')"
}

@test "is read-only after relocation, and bound at load" {
    readelf -W --segments "$so" | grep -q GNU_RELRO
    readelf -d "$so" | grep -E 'FLAGS' | grep -qE 'BIND_NOW|NOW'
}

@test "has no initialised data that stays writable: what every process copies at its start is one page" {
    fail_if_any "initialised and writable" "$(readelf -W --sections "$so" | grep -E ' \.data +PROGBITS')"
    size=$(readelf -W --segments "$so" | awk '$1 == "GNU_RELRO" { print $6 }')
    start=$(readelf -W --segments "$so" | awk '$1 == "GNU_RELRO" { print $3 }')
    echo "read-only after relocation: $((size)) bytes from $start"
    [ -n "$size" ] && [ $((start / 4096)) -eq $(((start + size - 1) / 4096)) ]
}

@test "thread-local block is at most 512 bytes, in the initial-exec model" {
    size=$(readelf -W --segments "$so" | awk '$1 == "TLS" { print $6 }')
    if [ -n "$size" ]; then
        echo "TLS: $((size)) bytes"
        [ $((size)) -le 512 ]
        readelf -d "$so" | grep -q STATIC_TLS
    fi
    fail_if_any "dynamic TLS" "$(readelf -W --relocs "$so" | grep -E 'DTPMOD|TLSDESC'; undefined_symbols | grep __tls_get_addr)"
}

@test "is at most 300 KB, with its debug information beside it" {
    echo "$(stat -c %s "$so") bytes"
    [ "$(stat -c %s "$so")" -le $((300 * 1024)) ]
    readelf -W --sections "$so" | grep -q gnu_debuglink
    readelf -W --sections "$so.debug" | grep -q debug_info
}

@test "asks for a place at a multiple of 64 KiB, and for no hole between its segments" {
    run bash -c "readelf -lW '$so' | awk '\$1 == \"LOAD\" { print \$NF }'"
    [ "$status" -eq 0 ]
    [ "$output" = $'0x10000\n0x1000' ]
}

@test "has a soname and no run path" {
    readelf -d "$so" | grep SONAME | grep -q '\[libtraceshim.so\]'
    readelf -d "$so" | absent 'RPATH|RUNPATH'
}

@test "names no directory of the machine that built it" {
    fail_if_any "paths" "$(strings -a "$so" | grep -F "$root/")"
}

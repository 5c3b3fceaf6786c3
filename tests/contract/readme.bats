#!/usr/bin/env bats
# The README against the code: the table of the configuration is the code's own, and its commands exist.

setup() {
    top=$BATS_TEST_DIRNAME/../..
}

# The rows that the code would write.
rows() {
    cat > "$BATS_TEST_TMPDIR/rows.c" << 'END'
#include <stdio.h>
#include "config_keys.h"
#define X(name, key, value, text) \
	printf("| `%s` | %s%s%s%s| %s |\n", key, *value ? "`" : "", value, *value ? "`" : "", *value ? " " : "", text);
int main(void) { CONFIG_KEYS(X) return 0; }
END
    gcc -iquote "$top/shim" -o "$BATS_TEST_TMPDIR/rows" "$BATS_TEST_TMPDIR/rows.c"
    "$BATS_TEST_TMPDIR/rows"
}

@test "the README's table of the configuration is that of the code, row by row" {
    rows > "$BATS_TEST_TMPDIR/code"
    [ "$(wc -l < "$BATS_TEST_TMPDIR/code")" -gt 20 ]
    sed -n '/^| variable | default | meaning |/,/^$/p' "$top/README.md" | sed '1,2d;/^$/d' > "$BATS_TEST_TMPDIR/readme"
    diff -u "$BATS_TEST_TMPDIR/code" "$BATS_TEST_TMPDIR/readme"
}

@test "every make target that the README names exists" {
    run bash -c "grep -oE '\`?make [a-z-]+' '$top/README.md' | sed 's/.*make //' | sort -u"
    [ -n "$output" ]
    for target in $output; do
        grep -qE "^$target:|^\.PHONY:.* $target( |$)|^[a-z ]*\b$target\b[a-z ]*:" "$top/Makefile" || {
            echo "no target $target"
            return 1
        }
    done
}

@test "every subcommand that the README names exists" {
    for sub in run doctor status agent view tail; do
        grep -q "traceshim $sub" "$top/README.md"
        "${TRACESHIM_BUILD:-$top/build}/traceshim" "$sub" --help > /dev/null
    done
}

@test "the manual page has every variable of the configuration, with its meaning" {
    # Two of them concern the commands as well, and have more to be said.
    rows | grep -v '`TRACESHIM_\(LIBRARY\|RUN_DIR\)`' |
        sed -E 's/^\| `([A-Z_]+)` \| (`([^`]*)` )?\| (.*) \|$/.B \1\n\4 (default: \3)/; s/ \(default: \)//; s/-/\\-/g; s/`//g' >"$BATS_TEST_TMPDIR/wanted"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/wanted")" -gt 40 ]
    sed -n '/^\.SH ENVIRONMENT/,/^\.SH FILES/p' "$top/cli/traceshim.1" | grep -A 1000 '^The object is configured' | grep -v -e '^\.TP' -e '^\.SH' -e '^The object' -e '^\.BR' >"$BATS_TEST_TMPDIR/manual"
    diff -u "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/manual"
    for name in TRACESHIM_LIBRARY TRACESHIM_RUN_DIR; do grep -qx "\.B $name" "$top/cli/traceshim.1"; done
}

@test "the manual page has every option, and no other" {
    for sub in run doctor status agent view tail; do
        "${TRACESHIM_BUILD:-$top/build}/traceshim" "$sub" --help
    done | grep -oE -- '--[a-z][a-z-]*' | sort -u >"$BATS_TEST_TMPDIR/helps"
    echo --version >>"$BATS_TEST_TMPDIR/helps"
    sed 's/\\-/-/g' "$top/cli/traceshim.1" | grep -oE -- '--[a-z][a-z-]*' | sort -u >"$BATS_TEST_TMPDIR/manual"
    diff -u <(sort -u "$BATS_TEST_TMPDIR/helps") "$BATS_TEST_TMPDIR/manual"
}

@test "the README names every field that a record of each format has, and no other" {
    export OTEL_SERVICE_NAME=s OTEL_RESOURCE_ATTRIBUTES=service.version=1,deployment.environment.name=e
    export TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 TRACESHIM_RUN_DIR=$BATS_TEST_TMPDIR/run
    for format in otel camel ecs datadog gcp; do
        TRACESHIM_FORMAT=$format LD_PRELOAD=${TRACESHIM_BUILD:-$top/build}/libtraceshim.so sh -c 'echo "ERROR of it"' 3>&- |
            jq -r 'keys_unsorted[]' | sed 's#^logging.googleapis.com/\(spanId\|trace_.*\)#…/\1#' | sort >"$BATS_TEST_TMPDIR/record"
        grep "^| \`$format\` | \`[a-zA-Z]" "$top/README.md" | grep -v 'json: ' | grep -o '`[^`]*`' | tr -d '`' | grep -vx "$format" | sort >"$BATS_TEST_TMPDIR/readme"
        diff -u "$BATS_TEST_TMPDIR/record" "$BATS_TEST_TMPDIR/readme"
    done
}

@test "every file and every counter that DESIGN.md names exists" {
    cd "$top"
    # Of what is generated there is one.
    grep -oE '\b[a-zA-Z0-9_./-]+\.(c|h|S|cjs|bats|list|ld|py)\b' DESIGN.md | grep -vx traceshim.cjs | sort -u >"$BATS_TEST_TMPDIR/files"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/files")" -gt 60 ]
    while read -r name; do
        [ -n "$(find shim hooks cli tests scripts -path "*/$name" -o -path "$name")" ] || { echo "no file $name" && false; }
    done <"$BATS_TEST_TMPDIR/files"
    sed -n '/^## Where to look/,/^## Inter/p' DESIGN.md | awk -F'|' 'NF > 3 { print $3 }' | grep -oE '`[a-z0-9_]+`' | tr -d '`' | grep -vx 'inert\|excluded' |
        sort -u >"$BATS_TEST_TMPDIR/counters"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/counters")" -gt 20 ]
    while read -r name; do
        grep -q "X($name," shim/status_page.h || { echo "no counter $name" && false; }
    done <"$BATS_TEST_TMPDIR/counters"
}

free_port() {
    "$top/tests/preload/free_port.py" "$$"
}

# Times, ids and numbers are others each time.
plain() {
    sed -E 's/[0-9a-f]{32}|[0-9a-f]{16}/ID/g; s/[0-9]+\/[A-Z][a-z]+\/[0-9]+|[0-9T:.Z-]{4,}/TIME/g; s/"(pid|tid)":[0-9]+/"\1":N/g; s/flags":"0./flags":"0/'
}

@test "the README's first example shows what comes" {
    cd "$BATS_TEST_TMPDIR"
    sed -n '/^A server without/,/^It keeps/p' "$top/README.md" >example
    grep -E '^(127|\{)' example | plain >wanted
    [ "$(wc -l <wanted)" -eq 3 ]
    # With ports of our own, into a file, and as soon as the servers are there. (Of the job's processes the first one is told its end.)
    bare=$(free_port) traced=$(free_port)
    {
        sed -n 's/^\$ //p' example | sed -E "s/\b8000\b/$bare/; s/\b8001\b/$traced/; s|build/traceshim|${TRACESHIM_BUILD:-$top/build}/traceshim|
            s|python3|/usr/bin/python3|; s/\| cat &/| cat >>shown \&/; s/^curl/curl --retry 60 --retry-delay 1 --retry-connrefused/"
        echo 'kill $(jobs -p); wait'
    } >commands
    env TRACESHIM_RUN_DIR="$BATS_TEST_TMPDIR/run" bash -m commands 3>&-
    grep -v 'Serving HTTP\|Keyboard' shown | plain | diff -u wanted -
    [ "$(grep -c '"trace_id":"0af7651916cd43dd8448eb211c80319c"' shown)" -eq 1 ]
}

#!/usr/bin/env bats
#
# The house rules of scripts/check-source find what they are there for, and nothing else.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree/shim" "$tree/hooks" "$tree/cli"
}

check() {
    run "$root/scripts/check-source" "$tree"
    echo "$output"
}

# function_of LINES: a C function of that many lines
function_of() {
    printf 'void long_one(void)\n{\n'
    for ((i = 3; i < $1; i++)); do echo "	x++;"; done
    printf '}\n'
}

@test "a call that a guest may not make is found, with file and line" {
    printf 'void f(void)\n{\n\tp = malloc(1);\n}\n' >"$tree/shim/a.c"
    check
    [ "$status" -eq 1 ]
    [ "$output" = "shim/a.c:3: call of malloc, which a guest may not make" ]
}

@test "the command-line program may call what it likes" {
    printf 'void f(void)\n{\n\tp = malloc(1);\n}\n' >"$tree/cli/a.c"
    check
    [ "$status" -eq 0 ]
}

@test "comments, strings, tables, definitions and longer names are not calls" {
    cat >"$tree/hooks/a.c" <<'C'
/* we never call malloc(1)
 * nor printf("x") */
void exit(int status)
{
	real.exit(status); // not abort()
	os->free(p);
	note("say \" printf(%d)");
	my_free(p);
}
C
    check
    [ "$status" -eq 0 ]
}

@test "a call is allowed where a comment says why" {
    cat >"$tree/shim/a.c" <<'C'
void f(void)
{
	vsnprintf(p); /* lint: allow vsnprintf: constructor only */
	/* lint: allow free: constructor only */
	free(p);
	free(p);
}
C
    check
    [ "$status" -eq 1 ]
    [ "$output" = "shim/a.c:6: call of free, which a guest may not make" ]
}

@test "a function may have 60 lines, not 61, unless a comment says why" {
    function_of 60 >"$tree/cli/a.c"
    check
    [ "$status" -eq 0 ]
    function_of 61 >"$tree/cli/a.c"
    check
    [ "$status" -eq 1 ]
    [ "$output" = "cli/a.c:1: long_one has 61 lines (60)" ]
    rm "$tree/cli/a.c"
    function_of 61 | sed '1s/^/static inline /' >"$tree/shim/a.h"
    check
    [ "$status" -eq 1 ]
    [[ $output == shim/a.h:1:* ]]
    rm "$tree/shim/a.h"
    { echo '/* long: one table */' && function_of 61; } >"$tree/cli/a.c"
    check
    [ "$status" -eq 0 ]
}

@test "a file may have 600 lines, not 601, unless a comment says why" {
    seq 600 | sed 's/.*/int v&;/' >"$tree/cli/a.c"
    check
    [ "$status" -eq 0 ]
    echo 'int w;' >>"$tree/cli/a.c"
    check
    [ "$status" -eq 1 ]
    sed -i '1s,^,/* long: a table */ ,' "$tree/cli/a.c"
    check
    [ "$status" -eq 0 ]
    mkdir "$tree/hooks/companion"
    seq 601 | sed 's/.*/let v&;/' >"$tree/hooks/companion/a.cjs"
    check
    [ "$status" -eq 1 ]
    [ "$output" = "hooks/companion/a.cjs:1: 601 lines (600)" ]
}

@test "without what tells the functions nothing is called clean" {
    for tool in bash env awk sed grep find sort wc head cat dirname; do
        ln -s "$(type -P "$tool")" "$BATS_TEST_TMPDIR/$tool"
    done
    PATH=$BATS_TEST_TMPDIR check
    [ "$status" -ne 0 ]
    [[ $output == *"ctags is missing"* ]]
}

@test "work put off in a comment is found" {
    echo "int x; /* TO""DO: more */" >"$tree/cli/a.c"
    check
    [ "$status" -eq 1 ]
    [[ $output == cli/a.c:1:* ]]
}

@test "what a merge left behind is found, in a comment too" {
    printf '/*\n%s ours\n */\nint x;\n' '<<<''<<<<' >"$tree/cli/a.c"
    check
    [ "$status" -eq 1 ]
    [[ $output == cli/a.c:2:* ]]
}

@test "a symbol that is listed twice is found" {
    printf '# sockets\nread\nwrite # both\nread\n' >"$tree/hooks/symbols.list"
    check
    [ "$status" -eq 1 ]
    [ "$output" = "hooks/symbols.list:4: read is there twice" ]
}

#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# What a program reads from a pipe of its own is what its child wrote there, in whatever way the child was started, and also where
# the program is the first one of its tree: no file of the tree is known from further up then.

load guest

setup() {
    guest_setup
}

@test "the words that a shell substitutes for wordexp are words" {
    same "$guests/exec_guest" wordexp
    [ "$(cat "$tmp/bare.out")" = "<a> <b> <c> <d> status 0" ]
}

@test "a child that is started by execveat, or by a system call's number, is told which files are logs" {
    local how
    for how in execveat number number_at; do
        same "$guests/exec_guest" "$how"
        [ "$(cat "$tmp/bare.out")" = "read: data of my own" ]
        # And below another, as above.
        same sh -c '"$@"; true' sh "$guests/exec_guest" "$how"
    done
}

@test "the children of a Go program, which starts them by itself, are bare where the program is the first of its tree" {
    gcc -std=gnu11 -D_GNU_SOURCE -DGO -rdynamic -O1 -o "$tmp/go" "$root/tests/programs/exec_guest.c"
    same "$tmp/go" inline
    [ "$(cat "$tmp/bare.out")" = "read: data of my own" ]
    # What else was to be preloaded still is; nothing here needs it.
    local libjemalloc
    libjemalloc=$(/sbin/ldconfig -p | awk '$1 == "libjemalloc.so.2" { print $NF; exit }')
    [ -e "$libjemalloc" ]
    gcc -std=gnu11 -D_GNU_SOURCE -DGO -rdynamic -O1 -o "$tmp/tell" -x c - <<'END'
#include <stdio.h>
#include <string.h>
extern void _cgo_topofstack(void);
void _cgo_topofstack(void)
{
}
int main(int argc, char *argv[], char *envp[])
{
	(void)argc, (void)argv;
	for (; *envp != NULL; envp++)
		if (strncmp(*envp, "LD_PRELOAD=", 11) == 0)
			puts(*envp);
	return 0;
}
END
    into shim env LD_PRELOAD="$libjemalloc $so" "$tmp/tell"
    [ "$(unwrap "$tmp/shim.out")" = "LD_PRELOAD=$libjemalloc" ]
    into shim env LD_PRELOAD="$so:$libjemalloc" "$tmp/tell"
    [ "$(unwrap "$tmp/shim.out")" = "LD_PRELOAD=$libjemalloc" ]
}

@test "the children of a Go program below a traced one are told which files are logs" {
    gcc -std=gnu11 -D_GNU_SOURCE -DGO -rdynamic -O1 -o "$tmp/go" "$root/tests/programs/exec_guest.c"
    same sh -c '"$@"; true' sh "$tmp/go" inline
}

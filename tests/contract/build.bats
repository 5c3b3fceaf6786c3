#!/usr/bin/env bats
#
# What `make` promises beside compiling: installing and taking it back, and a help that names every target.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    # A caller's make hands its own flags and its job server down.
    unset MAKEFLAGS MFLAGS MAKELEVEL
}

# In a build of its own: another place to install to makes the programs that know it anew, which other tests run.
make_install() {
    [ -d "$BATS_TEST_TMPDIR/build" ] || {
        mkdir "$BATS_TEST_TMPDIR/build"
        cp -a "$build"/{obj,gen,libtraceshim*,traceshim*} "$BATS_TEST_TMPDIR/build/"
    }
    make -C "$root" BUILD="$BATS_TEST_TMPDIR/build" DESTDIR="$BATS_TEST_TMPDIR/dest" PREFIX=/usr "$@"
}

# Standard input (or a file) must not match. A plain `!` would fail a test only on its last line.
absent() {
    ! grep -qE "$@"
}

@test "install puts the programs, the object, its companion and the manual page below DESTDIR, and nothing else" {
    make_install install
    cd "$BATS_TEST_TMPDIR/dest"
    run bash -c "find . -type f -printf '%m %p\n' | sort -k 2"
    [ "$output" = "755 ./usr/bin/traceshim
644 ./usr/lib/traceshim/libtraceshim-handoff.so
644 ./usr/lib/traceshim/libtraceshim.so
755 ./usr/lib/traceshim/traceshim-agent
644 ./usr/lib/traceshim/traceshim.cjs
644 ./usr/share/man/man1/traceshim.1" ]
}

@test "the installed object has no debug information" {
    make_install install
    readelf -W --sections "$BATS_TEST_TMPDIR/dest/usr/lib/traceshim/libtraceshim.so" | absent '\.debug_'
}

@test "uninstall removes every file that install made, and no other" {
    mkdir -p "$BATS_TEST_TMPDIR/dest/usr/bin"
    : >"$BATS_TEST_TMPDIR/dest/usr/bin/other"
    make_install install
    make_install uninstall
    run find "$BATS_TEST_TMPDIR/dest" -type f
    [ "$output" = "$BATS_TEST_TMPDIR/dest/usr/bin/other" ]
    [ ! -e "$BATS_TEST_TMPDIR/dest/usr/lib/traceshim" ]
}

@test "what was built for one place is found in another that install is told" {
    dest=$BATS_TEST_TMPDIR/dest
    make_install install PREFIX="$dest/opt" DESTDIR= LIBDIR="$dest/elsewhere"
    run env -u TRACESHIM_LIBRARY "$dest/opt/bin/traceshim" run -- sh -c 'echo "$LD_PRELOAD"'
    [[ $output == *"$dest/elsewhere/traceshim/libtraceshim.so"* ]]
    env -u TRACESHIM_LIBRARY "$dest/opt/bin/traceshim" agent --help >/dev/null
    # and back: nothing is made anew for the place it is built for
    make_install install PREFIX="$dest/opt" DESTDIR= LIBDIR="$dest/elsewhere" >"$BATS_TEST_TMPDIR/again"
    absent '(CC|LD) ' "$BATS_TEST_TMPDIR/again"
}

@test "the names that GNU has for the places are as good" {
    unset PREFIX BINDIR LIBDIR MANDIR
    make -n -C "$root" BUILD="$BATS_TEST_TMPDIR/build" DESTDIR=/d prefix=/p libdir=/l install >"$BATS_TEST_TMPDIR/out"
    for place in /d/p/bin/traceshim /d/l/traceshim/libtraceshim.so /d/p/share/man/man1/traceshim.1; do
        grep -qF "'$place'" "$BATS_TEST_TMPDIR/out"
    done
}

@test "the program knows the version of the tree" {
    run "$build/traceshim" --version
    [ "$status" -eq 0 ]
    [[ $output == *"$(cat "$root/VERSION")"* ]]
}

@test "the change log has an entry for the version of the tree" {
    grep -qF "## [$(cat "$root/VERSION")]" "$root/CHANGELOG.md"
}

@test "help names every target that people call" {
    run make -s -C "$root" help
    for target in all demo test test-unit test-contract test-preload test-tsan lint format bench fuzz install uninstall \
        clean help compile_commands.json; do
        grep -qE "^ +$target( |$)" <<<"$output" || { echo "missing: $target"; false; }
    done
}

@test "sources of others below the build folder are none of make's business" {
    mkdir -p "$BATS_TEST_TMPDIR/build/sources/tcl/generic" "$BATS_TEST_TMPDIR/build/obj"
    echo 'provider tcl { probe proc__entry(char *name); };' >"$BATS_TEST_TMPDIR/build/sources/tcl/generic/tclDTrace.d"
    make -C "$root" BUILD="$BATS_TEST_TMPDIR/build" help >/dev/null
    # What is ours is read.
    echo 'provider' >"$BATS_TEST_TMPDIR/build/obj/x.d"
    run make -C "$root" BUILD="$BATS_TEST_TMPDIR/build" help
    [ "$status" -ne 0 ]
}

@test "JOBS, which is for the suites of others, comes to them as the caller said, and is nothing to make" {
    show='show: ; @echo "$$JOBS"'
    [ "$(make -s -C "$root" BUILD="$BATS_TEST_TMPDIR/build" --eval="$show" show JOBS=2)" = 2 ]
    [ "$(JOBS=3 make -s -C "$root" BUILD="$BATS_TEST_TMPDIR/build" --eval="$show" show)" = 3 ]
    # -n: what make would do below itself, which it refuses with a target named 2.
    make -n -C "$root" BUILD="$BATS_TEST_TMPDIR/build" transparency JOBS=2 >/dev/null
}

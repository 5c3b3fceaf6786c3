#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2154,SC2031,SC2059 # $0 and $LD_PRELOAD are for the guest; each test is a subshell
# The traceshim program: run, doctor and status, on real programs.
# Guests write what is checked into files, not to stdout, which is a log and may be rewritten.

bats_require_minimum_version 1.5.0

setup() {
	build=$(cd "${TRACESHIM_BUILD:-$BATS_TEST_DIRNAME/../../build}" && pwd)
	traceshim=$build/traceshim
	tmp=$BATS_TEST_TMPDIR
	out=$tmp/out
	export TRACESHIM_LIBRARY=$build/libtraceshim.so
	export TRACESHIM_RUN_DIR=$tmp/pages
	mkdir "$TRACESHIM_RUN_DIR"
	unset LD_PRELOAD OTEL_SERVICE_NAME TRACESHIM_LOG TRACESHIM_FORMAT
	# A guest would count it as a key that it does not know, and have a page.
	export -n TRACESHIM_BUILD
	guest=
}

teardown() {
	if [ -n "$guest" ]; then
		kill "$guest" 2>/dev/null || true
		wait "$guest" 2>/dev/null || true
	fi
}

compile() { # compile OUTPUT [FLAG]... : a program that prints a line and exits with 7
	local output=$1
	shift
	printf '#include <stdio.h>\nint main(void)\n{\n\tputs("hi");\n\treturn 7;\n}\n' >"$tmp/program.c"
	"${CC:-gcc}" -o "$output" "$tmp/program.c" "$@"
}

start_ticks() { # field 22 of /proc/PID/stat
	sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20
}

counter_index() { # position of a counter in the page
	grep -o 'X([a-z_0-9]*, "' "$BATS_TEST_DIRNAME/../../shim/status_page.h" | grep -n "^X($1," | cut -d: -f1
}

# write_page PID START_TICKS PROGRAM REQUESTS POISONED NOTE [STATE]: a status page as a guest leaves it
write_page() {
	perl -e '
		my ($requests_at, $poisoned_at, $pid, $ticks, $program, $requests, $poisoned, $note, $state) = @ARGV;
		my @counters = (0) x 160;
		$counters[$requests_at - 1] = $requests;
		$counters[$poisoned_at - 1] = $poisoned;
		print pack("a8 L L l L Q Q a16 a64 a64 a16 Q160 L a1536 x4", "tshimst1", 3024, 33, $pid, $<, $ticks,
			1700000000000000000, "0.1.0", $program, "shop", $state // "guest", @counters, length($note), $note);
	' "$(counter_index requests)" "$(counter_index http_poisoned)" "$@" >"$TRACESHIM_RUN_DIR/$1.status"
}

start_guest() { # a process that stays, with the object loaded
	"$traceshim" run -- sleep 60 >/dev/null 2>&1 3>&- &
	guest=$!
	for _ in $(seq 3000); do
		[ "$(cat "/proc/$guest/comm" 2>/dev/null)" = sleep ] && grep -q libtraceshim "/proc/$guest/maps" && return 0
		sleep 0.02
	done
	return 1
}

# ---- run --------------------------------------------------------------------------------------------------------------

@test "run becomes the program: same pid, exit status and signals" {
	"$traceshim" run -- sh -c 'echo $$ >"$0"; exit 42' "$out" 3>&- &
	pid=$!
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 42 ]
	[ "$(cat "$out")" -eq "$pid" ]
	run "$traceshim" run -- sh -c 'kill -TERM $$'
	[ "$status" -eq 143 ]
}

@test "run appends the object to LD_PRELOAD, once" {
	export LD_PRELOAD=
	"$traceshim" run -- sh -c 'echo "$LD_PRELOAD" >"$0"' "$out"
	[ "$(cat "$out")" = "$(realpath "$TRACESHIM_LIBRARY")" ]
	"$traceshim" run -- "$traceshim" run -- sh -c 'echo "$LD_PRELOAD" >"$0"' "$out"
	[ "$(cat "$out")" = "$(realpath "$TRACESHIM_LIBRARY")" ]
}

@test "run keeps a preload that is there already" {
	compile "$tmp/other.so" -shared -fPIC
	LD_PRELOAD=$tmp/other.so "$traceshim" run -- sh -c 'echo "$LD_PRELOAD" >"$0"' "$out"
	[ "$(cat "$out")" = "$tmp/other.so:$(realpath "$TRACESHIM_LIBRARY")" ]
}

@test "run turns options into the variables that configure the object" {
	"$traceshim" run --service shop --log ecs --log-files='/var/log/*' --propagate a.example,b.example --headers x-a \
		--response-header x-b --raw --env A=1=2 --env EMPTY= -- sh -c 'env >"$0"' "$out"
	grep -qx OTEL_SERVICE_NAME=shop "$out"
	grep -qx TRACESHIM_LOG=json "$out"
	grep -qx TRACESHIM_FORMAT=ecs "$out"
	grep -qx 'TRACESHIM_LOG_FILES=/var/log/\*' "$out"
	grep -qx TRACESHIM_PROPAGATE=a.example,b.example "$out"
	grep -qx TRACESHIM_HEADERS=x-a "$out"
	grep -qx TRACESHIM_RESPONSE_HEADER=x-b "$out"
	grep -qx TRACESHIM_RAW=on "$out"
	grep -qx A=1=2 "$out"
	grep -qx EMPTY= "$out"
	"$traceshim" run --log off sh -c 'env >"$0"' "$out"
	grep -qx TRACESHIM_LOG=off "$out"
	run ! grep -q TRACESHIM_FORMAT "$out"
}

@test "run leaves the program's options alone" {
	"$traceshim" run sh -c 'echo "$@" >"$0"' "$out" --log text --help
	[ "$(cat "$out")" = "--log text --help" ]
}

@test "run reports 127 for a missing program and 126 for one that cannot be executed" {
	run -127 "$traceshim" run -- "$tmp/missing"
	run -127 "$traceshim" run -- no-such-program-in-path
	echo text >"$tmp/text"
	run "$traceshim" run -- "$tmp/text"
	[ "$status" -eq 126 ]
	run "$traceshim" run -- "$tmp"
	[ "$status" -eq 126 ]
}

@test "run reports 125 for its own errors and does not start the program" {
	for wrong in --no-such-option --log=xml --env=novalue --raw=1 "--library=$tmp/missing.so" "--library=$BATS_TEST_FILENAME"; do
		run "$traceshim" run "$wrong" -- touch "$out"
		[ "$status" -eq 125 ]
		[[ "$output" == "traceshim: "* ]]
		[ ! -e "$out" ]
	done
	run "$traceshim" run
	[ "$status" -eq 125 ]
	run "$traceshim" run --service
	[ "$status" -eq 125 ]
}

@test "run refuses an object whose path LD_PRELOAD cannot hold" {
	for folder in "$tmp/a b" "$tmp/a:b"; do
		mkdir "$folder"
		cp "$TRACESHIM_LIBRARY" "$folder/libtraceshim.so"
		run "$traceshim" run --library "$folder/libtraceshim.so" -- touch "$out"
		[ "$status" -eq 125 ]
		[[ "$output" == *"cannot be preloaded"* ]]
		[ ! -e "$out" ]
	done
}

@test "run warns once about a program that cannot be traced, and runs it" {
	compile "$tmp/static" -static
	run --separate-stderr "$traceshim" run -- "$tmp/static"
	[ "$status" -eq 7 ]
	[ "$output" = hi ]
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ "$stderr" == *"statically linked"* ]]
	run --separate-stderr "$traceshim" run --log off -- true
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
}

# An object that needs a libc version which no libc has yet.
make_future_object() {
	echo 'void future(void);void future(void){}' >"$tmp/libc.c"
	echo 'GLIBC_9.99 { future; };' >"$tmp/libc.map"
	"${CC:-gcc}" -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 "-Wl,--version-script=$tmp/libc.map" -o "$tmp/futurelibc.so" \
		"$tmp/libc.c"
	echo 'void future(void);void hook(void);void hook(void){future();}' >"$tmp/object.c"
	"${CC:-gcc}" -shared -fPIC -nostdlib -o "$tmp/libtraceshim.so" "$tmp/object.c" "$tmp/futurelibc.so"
}

@test "a program whose libc is too old for the object is started without it" {
	make_future_object
	run env LD_PRELOAD="$tmp/libtraceshim.so" /bin/true
	[ "$status" -ne 0 ]
	run --separate-stderr "$traceshim" run --library "$tmp/libtraceshim.so" -- /bin/true
	[ "$status" -eq 0 ]
	[[ "$stderr" == *"GLIBC_9.99"* ]]
	run "$traceshim" doctor --library "$tmp/libtraceshim.so" /bin/true
	[ "$status" -eq 2 ]
}

@test "the object is found beside the program and in ../lib/traceshim" {
	unset TRACESHIM_LIBRARY
	mkdir -p "$tmp/bin" "$tmp/lib/traceshim"
	cp "$traceshim" "$tmp/bin/"
	cp "$build/libtraceshim.so" "$tmp/lib/traceshim/"
	"$tmp/bin/traceshim" run -- sh -c 'echo "$LD_PRELOAD" >"$0"' "$out"
	[ "$(cat "$out")" = "$(realpath "$tmp/lib/traceshim/libtraceshim.so")" ]
	cp "$build/libtraceshim.so" "$tmp/bin/"
	"$tmp/bin/traceshim" run -- sh -c 'echo "$LD_PRELOAD" >"$0"' "$out"
	[ "$(cat "$out")" = "$(realpath "$tmp/bin/libtraceshim.so")" ]
}

# ---- doctor -----------------------------------------------------------------------------------------------------------

# doctor STATUS KIND PROGRAM: the verdict, and the finding that it must contain ('' for none)
doctor() {
	run "$traceshim" doctor --json "$3"
	[ "$status" -eq "$1" ] || { echo "$output"; return 1; }
	[ -z "$2" ] || jq -e --arg kind "$2" '.findings | any(.kind == $kind)' <<<"$output" >/dev/null
}

@test "doctor finds nothing wrong with ordinary programs, and lists the hooks they call" {
	doctor 0 '' /bin/ls
	[ "$(jq -r .verdict <<<"$output")" = traced ]
	[ "$(jq .stdio <<<"$output")" = true ]
	jq -e '.hooks["read and write"] | index("read")' <<<"$output"
	jq -e '.libraries | any(endswith("/libc.so.6"))' <<<"$output"
	run "$traceshim" doctor ls
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" == "ls will be traced" ]]
}

@test "doctor tells that a server is traced inside TLS too" {
	command -v nginx >/dev/null || PATH=$PATH:/usr/sbin
	command -v nginx >/dev/null || skip "no nginx"
	doctor 0 tls nginx
	jq -e '.hooks.sockets | length > 0' <<<"$output"
	jq -e '.findings | any(.text | contains("inside TLS is traced"))' <<<"$output"
}

@test "doctor tells static programs, position independent or not" {
	compile "$tmp/static" -static
	compile "$tmp/pie" -static-pie
	doctor 2 static "$tmp/static"
	doctor 2 static "$tmp/pie"
	jq -e '.findings | any(.text | contains("static-pie"))' <<<"$output"
}

@test "doctor tells Go programs, dynamic ones too" {
	compile "$tmp/program"
	echo x >"$tmp/x"
	objcopy --add-section ".go.buildinfo=$tmp/x" "$tmp/program" "$tmp/go"
	objcopy --add-section ".note.go.buildid=$tmp/x" "$tmp/program" "$tmp/go2"
	doctor 0 '' "$tmp/program"
	doctor 2 go "$tmp/go"
	doctor 2 go "$tmp/go2"
}

@test "doctor tells setuid and setgid programs and file capabilities" {
	cp /bin/true "$tmp/program"
	chmod u+s "$tmp/program"
	doctor 2 setuid "$tmp/program"
	chmod u-s,g+s "$tmp/program"
	doctor 2 setgid "$tmp/program"
	chmod g-s "$tmp/program"
	doctor 0 '' "$tmp/program"
	PATH=$PATH:/usr/sbin:/sbin
	setcap cap_net_raw+ep "$tmp/program" 2>/dev/null || skip "no right to set file capabilities"
	doctor 2 capabilities "$tmp/program"
}

@test "doctor tells musl programs" {
	command -v musl-gcc >/dev/null || skip "no musl-gcc"
	CC=musl-gcc compile "$tmp/program"
	run "$traceshim" doctor --json "$tmp/program"
	[ "$status" -eq 1 ] || [ "$status" -eq 2 ]
	jq -e '.findings | any(.kind == "musl")' <<<"$output"
	# Whatever the verdict: with `run` it starts.
	run "$traceshim" run -- "$tmp/program"
	[ "$status" -eq 7 ]
}

@test "doctor tells programs of another word size or machine" {
	{ printf '\177ELF\001\001\001\0\0\0\0\0\0\0\0\0\002\0\003\0'; head -c 44 /dev/zero; } >"$tmp/i386"
	{ printf '\177ELF\002\002\001\0\0\0\0\0\0\0\0\0\0\002\0\026'; head -c 44 /dev/zero; } >"$tmp/s390x"
	chmod +x "$tmp/i386" "$tmp/s390x"
	doctor 2 foreign "$tmp/i386"
	jq -e '.kind == "32-bit x86"' <<<"$output"
	doctor 2 foreign "$tmp/s390x"
}

@test "doctor examines the interpreter of a script, through env and through another script" {
	printf '#!/bin/sh\n' >"$tmp/script"
	printf '#! %s\n' "$tmp/script" >"$tmp/outer"
	cp /bin/true "$tmp/node"
	printf '#!/usr/bin/env -S node --flag\n' >"$tmp/app"
	printf '#!/no/such/interpreter\n' >"$tmp/broken"
	chmod +x "$tmp/script" "$tmp/outer" "$tmp/app" "$tmp/broken"
	doctor 0 shell "$tmp/script"
	doctor 0 shell "$tmp/outer"
	PATH=$tmp:$PATH doctor 0 language "$tmp/app"
	jq -e '.findings | any(.text | contains("Node.js"))' <<<"$output"
	doctor 3 '' "$tmp/broken"
	jq -e '.error | contains("/no/such/interpreter")' <<<"$output"
}

@test "doctor says what is known of PHP, Python, Ruby and Java" {
	for name in php8.2 php-fpm8.2 python3.11 ruby perl nodejs; do
		cp /bin/true "$tmp/$name"
		doctor 0 language "$tmp/$name"
	done
	for name in java deno; do
		cp /bin/true "$tmp/$name"
		doctor 1 language "$tmp/$name"
	done
	cp /bin/true "$tmp/perldoc"
	doctor 0 '' "$tmp/perldoc"
	[ "$(jq '[.findings[] | select(.kind != "object-closed")] | length' <<<"$output")" -eq 0 ]
}

# closed LIBRARY: what doctor says is closed to others on the way to it, for a program of root's
closed() {
	run "$traceshim" doctor --json --library "$1" /bin/true
	[ "$status" -le 1 ] || return 1
	jq -r '.findings[] | select(.kind == "object-closed").text' <<<"$output"
}

@test "doctor tells root that the object lies where other users cannot read it" {
	mkdir -p "$tmp/way/open"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$tmp" "$tmp/way" "$tmp/way/open"
	cp "$build/libtraceshim.so" "$tmp/way/open/"
	chmod 644 "$tmp/way/open/libtraceshim.so"
	[ -z "$(closed "$tmp/way/open/libtraceshim.so")" ]
	wanted=
	[ "$(id -u)" -ne 0 ] || wanted="$tmp/way/open/libtraceshim.so is closed"
	chmod 640 "$tmp/way/open/libtraceshim.so"
	[[ $(closed "$tmp/way/open/libtraceshim.so") == *"$wanted"* ]]
	chmod 644 "$tmp/way/open/libtraceshim.so"
	# To be searched is enough for a folder, and it takes that.
	chmod 711 "$tmp/way"
	[ -z "$(closed "$tmp/way/open/libtraceshim.so")" ]
	[ -z "$wanted" ] || wanted="$tmp/way is closed"
	chmod 700 "$tmp/way"
	[[ $(closed "$tmp/way/open/libtraceshim.so") == *"$wanted"* ]]
}

@test "doctor misses the companion that Node needs" {
	cp /bin/true "$tmp/node"
	cp "$build/libtraceshim.so" "$tmp/libtraceshim.so"
	run "$traceshim" doctor --json --library "$tmp/libtraceshim.so" "$tmp/node"
	[ "$status" -eq 1 ]
	jq -e --arg path "$tmp/traceshim.cjs" '.findings | any(.kind == "no-companion" and (.text | startswith($path)))' <<<"$output"
}

@test "doctor resolves libraries by the program's own search path and tells io_uring" {
	mkdir "$tmp/libs"
	echo 'int io_uring_dummy(void);int io_uring_dummy(void){return 0;}' >"$tmp/uring.c"
	"${CC:-gcc}" -shared -fPIC -Wl,-soname,liburing.so.99 -o "$tmp/libs/liburing.so.99" "$tmp/uring.c"
	# shellcheck disable=SC2016 # the loader expands it
	compile "$tmp/program" -Wl,--no-as-needed '-Wl,-rpath,$ORIGIN/libs' "$tmp/libs/liburing.so.99"
	doctor 1 io_uring "$tmp/program"
	jq -e --arg path "$tmp/libs/liburing.so.99" '.libraries | any(. == $path)' <<<"$output"
	mkdir "$tmp/elsewhere"
	ln -s ../program "$tmp/elsewhere/link"
	doctor 1 io_uring "$tmp/elsewhere/link"
	jq -e '.findings | any(.kind == "library-missing") | not' <<<"$output"
	rm "$tmp/libs/liburing.so.99"
	doctor 1 library-missing "$tmp/program"
}

@test "doctor calls it an error when there is no program to examine" {
	echo text >"$tmp/text"
	head -c 3000 /bin/true >"$tmp/cut"
	: >"$tmp/empty"
	mkfifo "$tmp/fifo"
	for wrong in "$tmp/missing" "$tmp/text" "$tmp/cut" "$tmp/empty" "$tmp/fifo" "$tmp" "$TRACESHIM_LIBRARY" 999999999; do
		doctor 3 '' "$wrong"
		jq -e '.error | length > 0' <<<"$output"
		run "$traceshim" doctor "$wrong"
		[ "$status" -eq 3 ]
		[[ "$output" == "traceshim: "* ]]
	done
	run "$traceshim" doctor
	[ "$status" -eq 3 ]
	run "$traceshim" doctor --no-such-option /bin/ls
	[ "$status" -eq 3 ]
}

@test "doctor says that nothing is traced where there is no object, but for processes that have theirs" {
	export TRACESHIM_LIBRARY
	for TRACESHIM_LIBRARY in "$tmp/missing.so" "$BATS_TEST_FILENAME"; do
		doctor 2 '' /bin/ls
		jq -e '.findings | any((.kind == "no-object" or .kind == "bad-object") and .effect == "cannot")' <<<"$output"
	done
	TRACESHIM_LIBRARY=$build/libtraceshim.so start_guest
	doctor 0 bad-object "$guest"
}

@test "doctor tells of a process whether it is traced" {
	start_guest
	doctor 0 '' "$guest"
	[ "$(jq .loaded <<<"$output")" = true ]
	kill "$guest"
	wait "$guest" || true
	sleep 60 3>&- &
	guest=$!
	doctor 2 not-loaded "$guest"
	[ "$(jq .loaded <<<"$output")" = false ]
}

@test "doctor tells of a process where the object is loaded but switched off" {
	start_guest
	write_page "$guest" "$(start_ticks "$guest")" sleep 0 0 '' excluded
	doctor 2 excluded "$guest"
	[ "$(jq .loaded <<<"$output")" = true ]
}

@test "doctor survives programs with damaged headers" {
	for offset in 16 24 32 40 54 56 60 62 72 96 100 200 300 500 700; do
		for byte in '\377' '\000' '\177'; do
			cp /bin/true "$tmp/damaged"
			printf "$byte$byte$byte$byte" | dd of="$tmp/damaged" bs=1 seek="$offset" conv=notrunc 2>/dev/null
			run "$traceshim" doctor "$tmp/damaged"
			[ "$status" -le 3 ]
		done
	done
}

# ---- status -----------------------------------------------------------------------------------------------------------

@test "status shows the counters of a process, degradations apart, and its notes" {
	start_guest
	write_page "$guest" "$(start_ticks "$guest")" shopd 12 3 $'TRACESHIM_LOG: what is this?\n'
	run "$traceshim" status "$guest"
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" == "process $guest: shopd" ]]
	[[ "$output" =~ counters.*12\ \ requests\ served.*degradations.*3\ \ connections.*notes.*TRACESHIM_LOG:\ what ]]
	run "$traceshim" status --json "$guest"
	[ "$status" -eq 0 ]
	jq -e '.counters.requests == 12 and .degradations == {"http_poisoned": 3} and .service == "shop" and .state == "guest"' \
		<<<"$output"
	jq -e '.notes == ["TRACESHIM_LOG: what is this?"] and (.counters | has("http_poisoned") | not)' <<<"$output"
	run "$traceshim" status
	[ "$status" -eq 0 ]
	[[ "$output" =~ $guest\ +shopd\ +shop\ +guest\ +12\ +0\ +0\ +3 ]]
	run "$traceshim" status --json
	jq -e --argjson pid "$guest" '.guests | any(.pid == $pid and .counters.requests == 12)' <<<"$output"
}

@test "status tells a process that counted nothing from one without the object" {
	start_guest
	run "$traceshim" status "$guest"
	[ "$status" -eq 0 ]
	[[ "$output" == "process $guest: "* ]]
	run "$traceshim" status --json
	jq -e --argjson pid "$guest" '.guests | any(.pid == $pid)' <<<"$output"
	# A folder where nothing can be written looks the same: so it is told.
	run env TRACESHIM_RUN_DIR=/somewhere/else "$traceshim" status "$guest"
	[ "${lines[1]}" = "  its page will be $tmp/pages/$guest.status, where that can be written" ]
	kill "$guest"
	wait "$guest" || true
	run "$traceshim" status "$guest"
	[ "$status" -eq 3 ]
	sleep 60 3>&- &
	guest=$!
	run "$traceshim" status "$guest"
	[ "$status" -eq 1 ]
	[[ "$output" == *"not loaded"* ]]
}

@test "status does not believe the page of another start of the pid, and removes it" {
	start_guest
	write_page "$guest" 1 stale 12 0 ''
	run "$traceshim" status
	[ "$status" -eq 0 ]
	[[ "$output" != *stale* ]]
	[ ! -e "$TRACESHIM_RUN_DIR/$guest.status" ]
}

@test "status removes pages of ended processes and leaves all other files alone" {
	write_page 999999998 5 gone 1 0 ''
	echo text >"$TRACESHIM_RUN_DIR/999999997.status"
	echo text >"$TRACESHIM_RUN_DIR/notes.txt"
	run "$traceshim" status
	[ "$status" -eq 0 ]
	[[ "$output" != *gone* ]]
	[ ! -e "$TRACESHIM_RUN_DIR/999999998.status" ]
	[ -e "$TRACESHIM_RUN_DIR/999999997.status" ]
	[ -e "$TRACESHIM_RUN_DIR/notes.txt" ]
}

@test "status lets no control character of a page through" {
	start_guest
	write_page "$guest" "$(start_ticks "$guest")" $'evil\033[2J\r' 1 0 $'note\033]0;title\007\n'
	for arguments in "$guest" "--json $guest" "" "--json"; do
		# shellcheck disable=SC2086 # several words
		"$traceshim" status $arguments >"$out"
		grep -q 'evil' "$out"
		run ! grep -q -P '[\x00-\x08\x0b-\x1f\x7f]' "$out"
	done
}

@test "status follows no link out of its folder" {
	start_guest
	write_page "$guest" "$(start_ticks "$guest")" linked 12 0 ''
	mv "$TRACESHIM_RUN_DIR/$guest.status" "$tmp/elsewhere"
	ln -s "$tmp/elsewhere" "$TRACESHIM_RUN_DIR/$guest.status"
	run "$traceshim" status "$guest"
	[ "$status" -eq 3 ]
	[[ "$output" != *linked* ]]
}

# ---- all --------------------------------------------------------------------------------------------------------------

@test "help and version go to stdout with status 0, wrong usage to stderr with status 2" {
	for command in --help 'run --help' 'doctor --help' 'status --help' --version; do
		# shellcheck disable=SC2086 # several words
		run --separate-stderr "$traceshim" $command
		[ "$status" -eq 0 ]
		[ -n "$output" ]
		[ -z "$stderr" ]
	done
	[[ "$output" =~ ^traceshim\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	for command in '' --no-such-option no-such-command 'status --no-such-option' 'status x' 'status 1 2'; do
		# shellcheck disable=SC2086 # several words
		run --separate-stderr "$traceshim" $command
		[ "$status" -eq 2 ]
		[ -z "$output" ]
		[ -n "$stderr" ]
	done
}

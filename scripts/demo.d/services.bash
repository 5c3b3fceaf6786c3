#!/usr/bin/env bash
# shellcheck disable=SC2154 # object is the caller's
#
# What the demos share: services that are started on free ports, bare or under the preload, and stopped again. To be
# sourced by a script that sets $object (the preload, or empty), calls services_prepare, and has `trap
# services_clean_up EXIT`. A service is the process group that it was started in.

readonly WAIT_TRIES=200 # of 0.05 s: how long a service may take to start or to stop
declare -A pid_of=()
dir=

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Whatever traces this shell already must not be inherited: a demo counts what its own preload does.
# Python buffers its output as it does by default, so that the preload has to cope with that by itself.
services_prepare() {
	local name
	unset LD_PRELOAD TRACEPARENT TRACESTATE BAGGAGE PYTHONUNBUFFERED
	while IFS='=' read -r name _; do
		case $name in TRACESHIM_* | OTEL_*) unset "$name" ;; esac
	done < <(env)
	dir=$(mktemp -d "${TMPDIR:-/tmp}/traceshim-demo.XXXXXX")
	chmod 755 "$dir" # as root, nginx' workers become another user
	mkdir -m 1777 "$dir/run"
}

services_clean_up() {
	local name
	for name in "${!pid_of[@]}"; do
		stop_service "$name"
	done
	rm -rf "$dir"
}

# Ask one service to stop, wait until it and its workers have, and only then insist: a worker that was just being born
# may outlive its master.
stop_service() {
	local pid=${pid_of[$1]:-} tries=$WAIT_TRIES
	[ -n "$pid" ] || return 0
	kill -TERM "$pid" 2>/dev/null || true
	while kill -0 "$pid" 2>/dev/null && [ $((tries--)) -gt 0 ]; do
		sleep 0.05
	done
	kill -TERM -- "-$pid" 2>/dev/null || true
	while kill -0 -- "-$pid" 2>/dev/null && [ $((tries--)) -gt 0 ]; do
		sleep 0.05
	done
	if kill -KILL -- "-$pid" 2>/dev/null; then
		echo "demo: $1 did not stop by itself" >&2
	fi
	wait "$pid" 2>/dev/null || true
	unset "pid_of[$1]" # only now: a signal in the midst of this begins it anew, from services_clean_up
}

# start_service NAME PORT COMMAND...: its output goes to files of its own, as a service manager would do it. The last
# command is exec'ed in the sub-shell, so that $! is the service and nothing but the service is preloaded. It runs in
# $dir, or in $service_dir.
start_service() {
	local name=$1 port=$2 tries=$WAIT_TRIES
	shift 2
	set -m # a process group of its own
	(
		cd "${service_dir:-$dir}" || exit
		export OTEL_SERVICE_NAME=$name
		if [ -n "$object" ]; then
			export LD_PRELOAD=$object TRACESHIM_RUN_DIR=$dir/run
		fi
		exec "$@" </dev/null >>"$dir/$name.log" 2>>"$dir/$name.err"
	) &
	pid_of[$name]=$!
	set +m
	until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		kill -0 "${pid_of[$name]}" 2>/dev/null || die "$name did not start: $(tail -n 5 "$dir/$name.err")"
		[ $((tries--)) -gt 0 ] || die "$name does not listen on port $port"
		sleep 0.05
	done
}

free_ports() {
	/usr/bin/python3 - "$1" <<-'PYTHON'
		import socket, sys
		sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
		print(*(s.getsockname()[1] for s in sockets))
	PYTHON
}

# keep_logs DIR: what the services wrote, for a reader
keep_logs() {
	mkdir -p "$1"
	cp "$dir"/*.log "$dir"/*.err "$dir"/*.jsonl "$1"
}

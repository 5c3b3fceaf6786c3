#!/usr/bin/env bash
# shellcheck disable=SC2154 # root, build and dir are the caller's
#
# The demo's agent and its page. To be sourced after services.bash.

readonly SPANS_PER_REQUEST=5 # nginx, its call, shop, its call, stock

# page_start PORT: the agent, before the programs that leave spans for it
page_start() {
	export TRACESHIM_EXPORT=traces,logs
	object='' start_service agent "$1" "$build/traceshim" agent --run-dir "$dir/run" --spans "$dir/spans.jsonl" --ui "127.0.0.1:$1"
}

page_ask() {
	curl -sf "http://127.0.0.1:$page_port/api/$1"
}

# page_trace: the id of a trace that has all its spans, once one has
page_trace() {
	local trace tries=$WAIT_TRIES
	while [ $((tries--)) -gt 0 ]; do
		for trace in $(page_ask 'requests?service=nginx&limit=5' | grep -oE '"trace":"[0-9a-f]{32}"' | cut -d'"' -f4); do
			[ "$(page_ask "trace/$trace" | grep -o '"parent":' | wc -l)" -eq "$SPANS_PER_REQUEST" ] || continue
			echo "$trace"
			return
		done
		sleep 0.05
	done
	return 1
}

# page_picture URL FILE
page_picture() {
	chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
		--disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$dir/chromium" --window-size=1200,700 \
		--virtual-time-budget=3000 --screenshot="$2" "$1" >/dev/null 2>&1 && [ -s "$2" ]
}

# page_show PORT REQUESTS: one trace as a waterfall, its page, and how many spans there were
page_show() {
	local url=http://127.0.0.1:$1 trace status=$?
	trap services_clean_up EXIT
	trace=$(page_trace) || die "no trace is complete on $url"
	if command -v chromium >/dev/null; then
		page_picture "$url/#trace/$trace" "$build/demo.png" || echo "demo: chromium took no picture of $url" >&2
	else
		echo "(no picture of the page: chromium is not installed)"
	fi
	if [ -t 0 ] && [ -t 1 ]; then
		read -r -p "The traces are at $url/ ; Enter ends the demo. "
	fi
	stop_service agent # writes what it has
	cp "$dir/spans.jsonl" "$build/demo-spans.jsonl"
	echo
	"$build/traceshim" view --trace "$trace" "$build/demo-spans.jsonl"
	echo "$(grep -o '"kind":' "$build/demo-spans.jsonl" | wc -l) spans of $2 requests, and the lines, are in $build/demo-spans.jsonl:"
	echo "'traceshim view' draws them. The page, as a picture: $build/demo.png; 'traceshim run --ui' has it live."
	exit "$status"
}

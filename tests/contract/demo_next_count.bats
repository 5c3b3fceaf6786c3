#!/usr/bin/env bats
# The counting of the Next.js demo and tests: fed with lines and calls whose ids are right, missing, swapped, doubled or
# shared, it must say so. What it shares with scripts/demo-count is tested there.

bats_require_minimum_version 1.5.0

readonly A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
readonly B=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
readonly C=cccccccccccccccccccccccccccccccc

setup() {
	count="$BATS_TEST_DIRNAME/../../scripts/demo-next-count"
	cd "$BATS_TEST_TMPDIR" || exit
	: >requests
	: >calls
	: >shop.log
	: >stock.log
	parent=0
}

# request NUMBER ID-SENT-OR-null [SERVED]: of two lines in the shop, one call, and one line in the stock
request() {
	local sent='"trace_id":null,"parent_id":null'
	[ "$2" = null ] || sent="\"trace_id\":\"$2\",\"parent_id\":\"9999999999999999\""
	local least='"lines":{"shop":2,"stock":1},"calls":1'
	echo "{\"n\":$1,\"kind\":\"form\",$sent,\"served\":${3:-true},$least}" >>requests
}

# line LOG ID-OR-EMPTY MESSAGE [USER]
line() {
	local more=
	[ -z "$2" ] || more=",\"trace_id\":\"$2\",\"span_id\":\"1111111111111111\""
	[ -z "${4:-}" ] || more+=",\"userId\":\"$4\""
	echo "{\"timestamp\":\"2026-01-02T03:04:05.000000Z\",\"message\":\"$3\"$more}" >>"$1.log"
}

# call NUMBER [TRACEPARENT...]
call() {
	local number=$1 list
	shift
	list=$(printf '"%s",' "$@")
	[ $# -gt 0 ] || list=
	echo "{\"n\":$number,\"traceparent\":[${list%,}]}" >>calls
}

# fresh ID: a traceparent with a parent id that no other has, in $fresh
fresh() {
	parent=$((parent + 1))
	fresh=$(printf '00-%s-%016x-01' "$1" "$parent")
}

# lines_of NUMBER ID: as they should be
lines_of() {
	line shop "$2" "request $1: begins"
	line shop "$2" "request $1: ends"
	line stock "$2" "request $1: in stock"
}

# One request as it should be: its lines, and its call.
good() {
	lines_of "$1" "$2"
	fresh "$2"
	call "$1" "$fresh"
}

counted() {
	run "$count" --requests requests --calls calls --service shop:shop.log --service stock:stock.log --json "$@"
}

field() {
	jq -r ".$1" <<<"$output"
}

@test "requests whose lines and calls all carry their own id are joined, and the exit status is 0" {
	request 1 null
	request 2 $B
	good 1 $A
	good 2 $B
	line shop "" "Ready in 200ms"
	counted
	[ "$status" -eq 0 ]
	[ "$(field right)" -eq 6 ]
	[ "$(field calls_right)" -eq 2 ]
	[ "$(field joined)" -eq 2 ]
	[ "$(field outside)" -eq 1 ]
	[ "$(field percent_lines)" = 100 ]
	[ "$(field percent_calls)" = 100 ]
}

@test "a line with another request's id is wrong, and fails however many are right" {
	local n
	for n in {1..400}; do
		request "$n" "$(printf '%032x' "$n")"
		good "$n" "$(printf '%032x' "$n")"
	done
	line shop "$(printf '%032x' 3)" "request 4: swapped"
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
	[ "$(field percent_lines)" = 99.91 ]
}

@test "one line without id in a thousand and more is a gap that passes, two are not" {
	local n
	for n in {1..400}; do
		request "$n" "$(printf '%032x' "$n")"
		good "$n" "$(printf '%032x' "$n")"
	done
	line shop "" "request 4: gap"
	counted
	[ "$status" -eq 0 ]
	[ "$(field none)" -eq 1 ]
	[ "$(field joined)" -eq 399 ]
	line shop "" "request 5: gap"
	counted
	[ "$status" -eq 1 ]
	[ "$(field none)" -eq 2 ]
	[ "$(field wrong)" -eq 0 ]
}

@test "a call without a traceparent is a gap, and its request is not joined" {
	request 1 $A
	lines_of 1 $A
	call 1
	counted
	[ "$status" -eq 1 ]
	[ "$(field calls_none)" -eq 1 ]
	[ "$(field calls_right)" -eq 0 ]
	[ "$(field calls_wrong)" -eq 0 ]
	[ "$(field joined)" -eq 0 ]
}

@test "the lines of a service that was called without a traceparent have no id, whatever it began" {
	request 1 $A
	request 2 $B
	line shop $A "request 1: begins"
	line shop $A "request 1: ends"
	line stock $C "request 1: in stock"
	call 1
	good 2 $B
	counted
	[ "$status" -eq 1 ]
	[ "$(field none)" -eq 1 ]
	[ "$(field wrong)" -eq 0 ]
	# But not another request's, nor one that two requests have.
	sed -i "s/$C/$B/" stock.log
	counted
	[ "$(field wrong)" -eq 1 ]
	sed -i "s/$B/$C/" stock.log
	counted
	[ "$(field wrong)" -eq 2 ]
}

@test "a call with two traceparents is neither right nor wrong, and fails" {
	request 1 $A
	lines_of 1 $A
	fresh $A
	local first=$fresh
	fresh $A
	call 1 "$first" "$fresh"
	counted --least 0
	[ "$status" -eq 1 ]
	[ "$(field calls_two)" -eq 1 ]
	[ "$(field calls_right)" -eq 0 ]
}

@test "a call with another request's trace id is wrong" {
	request 1 $A
	request 2 $B
	lines_of 1 $A
	good 2 $B
	fresh $B
	call 1 "$fresh"
	counted --least 0
	[ "$status" -eq 1 ]
	[ "$(field calls_wrong)" -eq 1 ]
	[ "$(field calls_right)" -eq 1 ]
	[ "$(field wrong)" -eq 0 ]
}

@test "a call with a trace id of nobody is wrong" {
	request 1 $A
	lines_of 1 $A
	fresh $C
	call 1 "$fresh"
	counted --least 0
	[ "$status" -eq 1 ]
	[ "$(field calls_wrong)" -eq 1 ]
}

@test "a parent id that the client sent, or that two calls have, is wrong" {
	request 1 $A
	request 2 $B
	request 3 $C
	lines_of 1 $A
	lines_of 2 $B
	lines_of 3 $C
	call 1 00-$A-9999999999999999-01
	call 2 00-$B-1111111111111111-01
	call 3 00-$C-1111111111111111-01
	counted --least 0
	[ "$status" -eq 1 ]
	[ "$(field calls_wrong)" -eq 3 ]
}

@test "what is no traceparent is wrong" {
	request 1 $A
	request 2 $B
	lines_of 1 $A
	lines_of 2 $B
	call 1 "00-$A-1111111111111111"
	call 2 00-00000000000000000000000000000000-1111111111111111-01
	counted --least 0
	[ "$status" -eq 1 ]
	[ "$(field calls_wrong)" -eq 2 ]
}

@test "a call whose request's id nobody knows is unproven" {
	request 1 null
	lines_of 1 ""
	fresh $A
	call 1 "$fresh"
	counted --least 0
	[ "$(field calls_unproven)" -eq 1 ]
	[ "$(field calls_right)" -eq 0 ]
	[ "$(field none)" -eq 3 ]
}

@test "a call too many, and a call too few, are miscounted and fail" {
	request 1 $A
	request 2 $B
	good 1 $A
	fresh $A
	call 1 "$fresh"
	lines_of 2 $B
	counted
	[ "$status" -eq 1 ]
	[ "$(field miscounted)" -eq 2 ]
	[ "$(field joined)" -eq 0 ]
	[ "$(field calls_wrong)" -eq 0 ]
}

@test "a lost line fails, a doubled one fails, and more lines than the least do not" {
	request 1 $A
	good 1 $A
	line shop $A "request 1: computed a price"
	counted
	[ "$status" -eq 0 ]
	line shop $A "request 1: computed a price"
	counted
	[ "$status" -eq 1 ]
	[ "$(field miscounted)" -eq 1 ]
	sed -i '/begins\|computed/d' shop.log
	counted
	[ "$status" -eq 1 ]
	[ "$(field miscounted)" -eq 1 ]
}

@test "Next's own lines are counted apart: without an id no gap, with another request's wrong" {
	request 1 $A
	request 2 $B
	good 1 $A
	good 2 $B
	line shop "" "GET /checkout?n=1 200 in 7ms"
	line shop $B "GET /checkout?n=2 200 in 7ms"
	counted
	[ "$status" -eq 0 ]
	[ "$(field own_none)" -eq 1 ]
	[ "$(field own_right)" -eq 1 ]
	[ "$(field none)" -eq 0 ]
	[ "$(field right)" -eq 6 ]
	line shop $B "GET /orders?n=1 200 in 7ms"
	counted
	[ "$status" -eq 1 ]
	[ "$(field own_wrong)" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
}

@test "a line of Next's that names no request may have an id only where it is said to" {
	request 1 $A
	good 1 $A
	line shop $A "Compiled /checkout in 300ms"
	counted --own-lines
	[ "$status" -eq 0 ]
	[ "$(field outside)" -eq 1 ]
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
}

@test "a line with another user than its request's is wrong, one without a user has a gap" {
	request 1 $A
	good 1 $A
	line shop $A "request 1: right" user-1
	line shop $A "request 1: wrong" user-2
	counted --user-field userId --least 0
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
	[ "$(field none)" -eq 2 ]
	[ "$(field right)" -eq 2 ]
}

@test "a request that was not answered fails, and so does no request at all" {
	counted
	[ "$status" -eq 1 ]
	request 1 $A false
	good 1 $A
	counted
	[ "$status" -eq 1 ]
	[ "$(field served)" -eq 0 ]
}

@test "the report shows one request's lines of both services, and what was counted" {
	request 1 $A
	good 1 $A
	run "$count" --requests requests --calls calls --service shop:shop.log --service stock:stock.log
	[ "$status" -eq 0 ]
	[[ "$output" == *"request 1: begins"*"request 1: ends"*"request 1: in stock"*"calls of"*PASS* ]]
	[[ "$output" == *"trace id $A"* ]]
	[[ "$output" != *$'\033'* ]]
	[ "$(wc -L <<<"$output")" -le 100 ]
}

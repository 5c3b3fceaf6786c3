#!/usr/bin/env bats
# The demo's counting: fed with records whose ids are right, missing, swapped or shared, it must say so. A count that
# cannot come out wrong proves nothing.

bats_require_minimum_version 1.5.0

readonly A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
readonly B=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
readonly C=cccccccccccccccccccccccccccccccc

setup() {
	count="$BATS_TEST_DIRNAME/../../scripts/demo-count"
	cd "$BATS_TEST_TMPDIR" || exit
	: >requests
	: >web.log
	: >app.log
}

# request NUMBER ID-SENT-OR-null [SERVED]
request() {
	local id=null
	[ "$2" = null ] || id="\"$2\""
	echo "{\"n\":$1,\"trace_id\":$id,\"served\":${3:-true}}" >>requests
}

# line LOG ID-OR-EMPTY MESSAGE [TIMESTAMP]
line() {
	local id=
	[ -z "$2" ] || id=",\"trace_id\":\"$2\",\"span_id\":\"1111111111111111\""
	echo "{\"timestamp\":\"${4:-2026-01-02T03:04:05.000000Z}\",\"message\":\"$3\"$id}" >>"$1.log"
}

# One request as it should be: its web line and its two app lines.
good() {
	line web "$2" "GET /order?n=$1 HTTP/1.1"
	line app "$2" "request $1: begins"
	line app "$2" "request $1: ends"
}

counted() {
	run "$count" --requests requests --service web:1:web.log --service app:2:app.log --json
}

field() {
	jq -r ".$1" <<<"$output"
}

@test "requests whose lines all carry their own id are joined, and the exit status is 0" {
	request 1 null
	request 2 $B
	good 1 $A
	good 2 $B
	line app "" "listening"
	counted
	[ "$status" -eq 0 ]
	[ "$(field right)" -eq 6 ]
	[ "$(field none)" -eq 0 ]
	[ "$(field wrong)" -eq 0 ]
	[ "$(field joined)" -eq 2 ]
	[ "$(field sent_by_client)" -eq 1 ]
	[ "$(field outside)" -eq 1 ]
}

@test "one line with another request's id is counted as wrong, once, and fails" {
	request 1 null
	request 2 null
	good 1 $A
	line web $B "GET /order?n=2 HTTP/1.1"
	line app $B "request 2: begins"
	line app $A "request 2: ends"
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
	[ "$(field right)" -eq 5 ]
	[ "$(field joined)" -eq 1 ]
}

@test "an id that nobody else has is wrong too, when it is not the request's" {
	request 1 $A
	good 1 $A
	line app $C "request 1: again"
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
}

@test "the id that the client sent decides, whatever the first service logged" {
	request 1 $A
	good 1 $B
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 3 ]
	[ "$(field joined)" -eq 0 ]
}

@test "two requests with one id are both wrong" {
	request 1 null
	request 2 null
	good 1 $A
	good 2 $A
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 6 ]
	[ "$(field right)" -eq 0 ]
}

@test "a request that was given a client's id is wrong, and the client's stays right" {
	request 1 $A
	request 2 null
	good 1 $A
	good 2 $A
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 3 ]
	[ "$(field right)" -eq 3 ]
	[ "$(field joined)" -eq 1 ]
}

@test "a line without an id is a gap, not a lie, but the request is not joined" {
	request 1 null
	line web $A "GET /order?n=1 HTTP/1.1"
	line app $A "request 1: begins"
	line app "" "request 1: ends"
	counted
	[ "$status" -eq 1 ]
	[ "$(field none)" -eq 1 ]
	[ "$(field wrong)" -eq 0 ]
	[ "$(field joined)" -eq 0 ]
}

@test "plain text, as a bare program writes it, has no ids" {
	request 1 null
	echo 'GET /order?n=1 HTTP/1.1' >web.log
	printf 'request 1: begins\nrequest 1: ends\n' >app.log
	counted
	[ "$status" -eq 1 ]
	[ "$(field none)" -eq 3 ]
	[ "$(field right)" -eq 0 ]
	[ "$(field miscounted)" -eq 0 ]
}

@test "without an id at the entry, the ids of later lines are unproven" {
	request 1 null
	line web "" "GET /order?n=1 HTTP/1.1"
	line app $A "request 1: begins"
	line app $A "request 1: ends"
	counted
	[ "$status" -eq 1 ]
	[ "$(field unproven)" -eq 2 ]
	[ "$(field wrong)" -eq 0 ]
}

@test "without an id at the entry, an id that two requests' lines carry is wrong" {
	request 1 null
	request 2 null
	line web "" "GET /order?n=1 HTTP/1.1"
	line web "" "GET /order?n=2 HTTP/1.1"
	line app $A "request 1: begins"
	line app $A "request 2: begins"
	counted
	[ "$(field wrong)" -eq 2 ]
	[ "$(field unproven)" -eq 0 ]
}

@test "a start-up banner that carries a request's id is wrong" {
	request 1 null
	good 1 $A
	line app $A "worker 7 started"
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
	[ "$(field outside)" -eq 0 ]
}

@test "one record with pieces of two requests' lines is wrong" {
	request 1 null
	request 2 null
	good 1 $A
	good 2 $B
	line app $A "request 1: berequest 2: begins"
	counted
	[ "$status" -eq 1 ]
	[ "$(field wrong)" -eq 1 ]
}

@test "a lost line and a doubled line are miscounted, and not joined" {
	request 1 null
	request 2 null
	good 1 $A
	line app $A "request 1: ends"
	line web $B "GET /order?n=2 HTTP/1.1"
	line app $B "request 2: begins"
	counted
	[ "$status" -eq 1 ]
	[ "$(field miscounted)" -eq 2 ]
	[ "$(field joined)" -eq 0 ]
	[ "$(field wrong)" -eq 0 ]
}

@test "a request that was not answered fails, though its lines are right" {
	request 1 null false
	good 1 $A
	counted
	[ "$status" -eq 1 ]
	[ "$(field served)" -eq 0 ]
	[ "$(field joined)" -eq 0 ]
}

@test "no request at all is a failure" {
	counted
	[ "$status" -eq 1 ]
	[ "$(field requests)" -eq 0 ]
}

@test "the report shows the lines of one trace in order of time, over all services" {
	request 1 $A
	line web $A "GET /order?n=1 HTTP/1.1" 2026-01-02T03:04:05.900Z
	line app $A "request 1: ends" 2026-01-02T03:04:05.25Z
	line app $A "request 1: begins" 2026-01-02T03:04:05.123456789Z
	run "$count" --requests requests --service web:1:web.log --service app:2:app.log
	[ "$status" -eq 0 ]
	[[ "$output" == *"request 1: begins"*"request 1: ends"*"GET /order?n=1"*PASS* ]]
	[[ "$output" == *"trace id $A"* ]]
	[[ "$output" != *$'\033'* ]]
	[ "$(wc -L <<<"$output")" -le 100 ]
}

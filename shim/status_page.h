/*
 * The page of counters that a guest shows to `traceshim status`: what crosses the process boundary, nothing else.
 * It lies in <TRACESHIM_RUN_DIR>/<pid>.status, mapped shared by the guest from its first noteworthy event on, and is
 * removed when the process ends normally. A page whose pid is dead or whose start time differs is stale.
 * Writers: any thread, atomic adds, no lock, signal-safe. Readers: map it read-only; values may be mid-update.
 */
#ifndef TRACESHIM_STATUS_PAGE_H
#define TRACESHIM_STATUS_PAGE_H

#include <stdint.h>

#define STATUS_MAGIC "tshimst1" /* 8 bytes; the digit is the layout's version */
#define STATUS_PAGE_SIZE 4096
#define STATUS_NOTES_SIZE 1536
#define STATUS_COUNTERS_MAX 160

/*
 * Every counter: C name, text that `status` prints. Order is the layout: append only.
 * A degradation ends in _lost, _skipped, _poisoned, _invalid, _unhooked or _missing, or is listed in cli/status_file.c.
 */
#define STATUS_COUNTERS(X)                                                                                             \
	X(requests, "requests served")                                                                                 \
	X(requests_continued, "of them, with the caller's trace id")                                                   \
	X(requests_raw, "requests of opaque protocols (TRACESHIM_RAW)")                                                \
	X(calls, "outgoing HTTP requests seen")                                                                        \
	X(calls_injected, "of them, given trace headers")                                                              \
	X(calls_own_headers, "of them, left alone: they had trace headers of their own")                               \
	X(calls_unknown, "of them, left alone: the request they belong to is not known")                               \
	X(calls_not_allowed, "of them, left alone: host not in TRACESHIM_PROPAGATE")                                   \
	X(response_headers, "responses given the header of TRACESHIM_RESPONSE_HEADER")                                 \
	X(lines, "log lines written as records")                                                                       \
	X(lines_with_id, "of them, with a trace id")                                                                   \
	X(lines_without_id, "of them, without: no request known")                                                      \
	X(lines_spliced, "of them, JSON objects already")                                                              \
	X(lines_cut, "records that are a part of an over-long or unfinished line")                                     \
	X(lines_raw, "writes to a log passed through unchanged (no buffer to be had)")                                 \
	X(log_files, "descriptors recognised as log streams")                                                          \
	X(http_poisoned, "connections that stopped being readable as HTTP and pass through")                           \
	X(http_tunnels, "connections that left HTTP (CONNECT, Upgrade)")                                               \
	X(opaque_connections, "connections that never were HTTP")                                                      \
	X(busy_skipped, "events passed over because another thread held the connection")                               \
	X(stale_skipped, "events for descriptors that had been reused meanwhile")                                      \
	X(no_memory_skipped, "events passed over for want of memory")                                                  \
	X(fd_limit_skipped, "descriptors above the table's limit")                                                     \
	X(ids_invalid, "trace headers from callers that were not valid")                                               \
	X(baggage_invalid, "baggage or tracestate from callers that was not valid")                                    \
	X(context_marks, "requests that asyncio's contexts were told of")                                              \
	X(context_unreadable, "1 when this Python's contexts could not be read: asyncio's lines have no ids")          \
	X(context_contradictions, "times two sources named different requests: answered with none")                    \
	X(context_multi_agreed, "event-loop answers that proved right")                                                \
	X(config_invalid, "configuration values that were ignored")                                                    \
	X(config_unknown, "configuration keys that are not known")                                                     \
	X(stdio_unhooked, "1 when this libc's stdio could not be hooked")                                              \
	X(symbols_missing, "libc functions that were not found")                                                       \
	X(deepbind_stripped, "dlopen calls whose RTLD_DEEPBIND was taken off")                                         \
	X(children_given_context, "child programs started with TRACEPARENT")                                           \
	X(spans, "spans left for the agent (TRACESHIM_EXPORT)")                                                        \
	X(spans_lost, "spans dropped: the agent did not fetch them, or there was no room at all")                      \
	X(lines_exported, "log lines left for the agent")                                                              \
	X(line_exports_lost, "log lines dropped for the agent, for the same reasons")                                  \
	X(tls_sessions, "TLS sessions whose content is read")                                                          \
	X(tls_sessions_skipped, "calls of TLS sessions passed over: more of them than the table holds, or no memory")  \
	X(http2_connections, "connections that speak HTTP/2")                                                          \
	X(requests_http2, "requests served by HTTP/2")                                                                 \
	X(calls_http2, "outgoing HTTP/2 requests seen")                                                                \
	X(heads_skipped,                                                                                               \
	  "outgoing requests whose frame could not be made longer: not whole in one write, or too long")               \
	X(streams_skipped, "HTTP/2 streams passed over: more of them than a connection may have, or no memory")        \
	X(requests_cgi, "requests served by FastCGI or uwsgi")                                                         \
	X(calls_cgi, "requests handed on by FastCGI or uwsgi")                                                         \
	X(handoffs_named, "jobs taken from queues whose request evidence told (TRACESHIM_ATTRIBUTION)")                \
	X(handoffs_agreed, "of them, answered as told")                                                                \
	X(handoffs_contradicted, "of them, answered otherwise: told wrong")                                            \
	X(handoffs_switched_off, "places that take from queues, believed once and not any more")                       \
	X(handoffs_skipped, "jobs passed over: more places that unlock queues than the table holds")                   \
	X(stacks, "stacks of coroutines that read or may read requests")                                               \
	X(stacks_skipped, "of them, passed over: more than the table holds, or no memory")                             \
	X(stacks_contradicted, "1 when coroutines handed requests on: reading proves nothing there")

enum status_counter {
#define X(name, text) STATUS_##name,
	STATUS_COUNTERS(X)
#undef X
		STATUS_COUNTER_COUNT
};

struct status_page {
	char magic[8];     /* STATUS_MAGIC, written last */
	uint32_t size;     /* sizeof(struct status_page) of the writer */
	uint32_t counters; /* STATUS_COUNTER_COUNT of the writer */
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat: tells a reused pid */
	uint64_t started_ns;  /* CLOCK_REALTIME when the page was made */
	char version[16];     /* NUL-terminated */
	char program[64];     /* NUL-terminated base name of the program */
	char service[64];     /* NUL-terminated */
	char state[16];       /* "guest", "inert" or "excluded", NUL-terminated */
	uint64_t counter[STATUS_COUNTERS_MAX];
	uint32_t notes_len;
	char notes[STATUS_NOTES_SIZE]; /* lines of text, '\n' after each: configuration errors and what is missing */
};

_Static_assert(sizeof(struct status_page) <= STATUS_PAGE_SIZE, "the status page is one page");
_Static_assert(STATUS_COUNTER_COUNT <= STATUS_COUNTERS_MAX, "room for every counter");

#endif

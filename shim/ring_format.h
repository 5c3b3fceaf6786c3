/*
 * The ring in which a guest leaves finished spans and log lines for `traceshim agent`: what crosses the process boundary,
 * nothing else. One file a ring, <TRACESHIM_RUN_DIR>/<pid>-<start ticks>-<n>.ring, mapped shared by both sides:
 *
 *   struct ring_header    RING_HEADER_SIZE bytes
 *   entries               `capacity` bytes, a power of two; the entry at position p lies at p & (capacity - 1)
 *
 * Positions count bytes since the ring was made and never wrap (2^64). One writer at a time moves `head`, one reader moves
 * `tail`; tail <= head <= tail + capacity. An entry is never split over the end of the area: what is left there is an entry
 * of kind RING_PAD, or, where less than sizeof(struct ring_entry) is left, nothing. The writer fills an entry and only then
 * moves `head` behind it (release; the reader's load is an acquire), so what a killed writer had begun is not seen, and all
 * that it had finished is. A full ring refuses the newest, and counts it.
 *
 * The peer of a process that is killed inside write(2) may have its whole answer, though the process never came to say so.
 * So a span is written before the write that completes its response, and `held` is moved behind it, not `head`; behind the
 * write, `head` follows (or `held` goes back). While the process lives `held` means nothing to the reader. Of a process
 * that is dead all up to `held` is read, where held > head: there is one span more (and a pad before it, maybe).
 *
 * The reader trusts nothing: it copies an entry out before it looks at it, and gives a ring up when a length or position
 * cannot be. Numbers are in the machine's own byte order, times in ns since the epoch (CLOCK_REALTIME).
 */
#ifndef TRACESHIM_RING_FORMAT_H
#define TRACESHIM_RING_FORMAT_H

#include <stdint.h>

#define RING_MAGIC "tshimrg1" /* 8 bytes; the digit is the layout's version */
#define RING_SUFFIX ".ring"
#define RING_HEADER_SIZE 4096u
#define RING_CAPACITY_MIN (64u * 1024)
#define RING_CAPACITY_MAX (64u * 1024 * 1024)
#define RING_ENTRY_MAX (24u * 1024) /* bytes of one entry, its header included: a log line of 16 KiB and its ids */
#define RING_ALIGN 8u

enum ring_kind {
	RING_PAD = 1, /* nothing, up to the end of the area */
	RING_SPAN,    /* struct ring_span */
	RING_LINE     /* struct ring_line */
};

/* What each entry begins with. `size` counts the whole entry and is a multiple of RING_ALIGN. */
struct ring_entry {
	uint32_t size;
	uint16_t kind; /* enum ring_kind; a reader passes over kinds that it does not know */
	uint16_t
		fixed; /* bytes of the fixed part (sizeof of the writer's struct): the texts begin there; a newer writer's is longer */
};

enum ring_span_kind {
	RING_SPAN_SERVER = 2, /* as OTLP's SpanKind */
	RING_SPAN_CLIENT = 3
};

/* Why a span is an error, beyond what its status code says; `error.type` is its name. Append only. */
#define RING_SPAN_ERRORS(X)                                                                                            \
	X(none, "")                                                                                                    \
	X(reset, "connection_reset")     /* the connection failed before the response was complete */                  \
	X(closed, "connection_closed")   /* the peer closed it before the response was complete */                     \
	X(unanswered, "no_response")     /* we closed it before the response was complete */                           \
	X(refused, "connection_refused") /* a call whose connection was never made */                                  \
	X(timeout, "timeout")

enum ring_span_error {
#define X(name, text) RING_ERROR_##name,
	RING_SPAN_ERRORS(X)
#undef X
		RING_ERROR_COUNT
};

#define RING_FLAG_SAMPLED 0x01u /* as in traceparent */
#define RING_FLAG_RANDOM 0x02u
#define RING_FLAG_REMOTE 0x04u    /* server: the trace and the parent came from the caller */
#define RING_FLAG_TRUNCATED 0x08u /* a text was cut */
#define RING_FLAG_TLS 0x10u       /* url.scheme is https */
#define RING_FLAG_PEER_V6 0x20u   /* peer is an IPv6 address */
#define RING_FLAG_PEER 0x40u      /* peer and peer_port are known; else 0 */
#define RING_FLAG_LOCAL 0x80u     /* call: no request is known that made it: the root of a trace of its own */
#define RING_FLAG_UPGRADED 0x100u /* the connection left HTTP with this exchange (101, CONNECT) */
#define RING_FLAG_GRPC 0x200u     /* a call of gRPC: the target is /service/method */

/*
 * The texts of a span, in this order behind the fixed part, no NULs, with their lengths in `text`. 0: not known.
 * Raw bytes of the peer: neither validated nor escaped. Order is the layout: append only.
 */
enum ring_span_text {
	RING_TEXT_METHOD,     /* only where `method` says other */
	RING_TEXT_TARGET,     /* request target as sent: path and query, or the absolute form */
	RING_TEXT_HOST,       /* Host or authority: server.address and port */
	RING_TEXT_USER_AGENT, /* server spans */
	RING_TEXT_FORWARDED,  /* server spans: Forwarded, else X-Forwarded-For, the first value */
	RING_TEXT_ROUTE,      /* http.route, where a framework told it */
	RING_TEXT_TRACESTATE,
	RING_TEXT_COUNT
};

/* What is kept of each text at most, in bytes. */
#define RING_TEXT_LIMIT 1024u

/* One finished request that was served, or call that was made. Times that never came are 0. */
struct ring_span {
	struct ring_entry entry;
	uint64_t start_ns;      /* first byte of the request; a call: before its first byte was sent */
	uint64_t first_byte_ns; /* first byte of the response */
	uint64_t end_ns; /* server: last byte of the response handed to the kernel; call: head of the response read */
	uint64_t bytes_in, bytes_out; /* over the connection for this exchange, heads included */
	uint8_t trace_id[16];
	uint8_t span_id[8];
	uint8_t parent_id[8]; /* all zero: a root */
	uint32_t flags;       /* RING_FLAG_* */
	uint32_t tid;
	uint16_t status;    /* http.response.status_code; 0: none came */
	uint8_t span_kind;  /* enum ring_span_kind */
	uint8_t method;     /* enum ring_method */
	uint8_t version;    /* network.protocol.version: 10, 11, 20 */
	uint8_t error;      /* enum ring_span_error */
	uint16_t peer_port; /* host byte order */
	uint8_t peer[16];   /* IPv4 in the first 4 bytes */
	uint16_t text[RING_TEXT_COUNT];
	uint16_t grpc_status; /* grpc-status plus 1; 0: none came */
};

/* Methods of RFC 9110 and 5789. Append only. */
#define RING_METHODS(X) X(other) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH)

enum ring_method {
#define X(name) RING_METHOD_##name,
	RING_METHODS(X)
#undef X
		RING_METHOD_COUNT
};

/* One log line, as the program wrote it, without its newline. */
struct ring_line {
	struct ring_entry entry;
	uint64_t time_ns;
	uint8_t trace_id[16]; /* all zero: no request is known */
	uint8_t span_id[8];
	uint32_t tid;
	uint32_t len;     /* bytes of the line, behind the fixed part */
	uint16_t stream;  /* 1 stdout, 2 stderr, 3 a file of TRACESHIM_LOG_FILES */
	uint8_t severity; /* SeverityNumber of the OpenTelemetry log data model; 0: the line states none */
	uint8_t flags;    /* low byte of RING_FLAG_*: SAMPLED, RANDOM, TRUNCATED (the line is a part of one) */
	uint32_t reserved;
};

#define RING_RESOURCE_MAX 2048u

/* Padding is the point: the two sides write to different cache lines. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct ring_header {
	char magic[8];        /* RING_MAGIC, written last */
	uint32_t header_size; /* RING_HEADER_SIZE: where the entries begin */
	uint32_t capacity;
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat: tells a reused pid */
	uint64_t made_ns;
	char version[16];                 /* of the writer, NUL-terminated */
	char program[64];                 /* base name, NUL-terminated */
	char service[64];                 /* service.name, NUL-terminated; "" is "unknown_service:<program>" */
	char host[64];                    /* host.name, NUL-terminated */
	char resource[RING_RESOURCE_MAX]; /* OTEL_RESOURCE_ATTRIBUTES as it is, NUL-terminated, "" when longer */
	uint32_t ended; /* atomic; 1 when no writer will come any more (the process ended or forgot the ring) */

	/* Writer's cache line. */
	__attribute__((aligned(64))) uint64_t head; /* atomic */
	uint64_t spans_dropped;                     /* atomic; the ring was full */
	uint64_t lines_dropped;
	uint64_t held; /* atomic; where it is > head and the process is dead, the entries up to here are finished too */

	/* Reader's cache line. */
	__attribute__((aligned(64))) uint64_t tail; /* atomic */
};

_Static_assert(sizeof(struct ring_header) <= RING_HEADER_SIZE, "the header fits before the entries");
_Static_assert(sizeof(struct ring_span) % RING_ALIGN == 0 && sizeof(struct ring_line) % RING_ALIGN == 0, "aligned");
_Static_assert(sizeof(struct ring_span) + RING_TEXT_COUNT * RING_TEXT_LIMIT <= RING_ENTRY_MAX, "room for every text");

#endif

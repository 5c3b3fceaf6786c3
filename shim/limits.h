/*
 * Every maximum of the shim, with its reason. A table or a buffer that has no entry here is a bug.
 * What they add up to per process, thread and connection is stated in DESIGN.md, 'Memory'.
 */
#ifndef TRACESHIM_LIMITS_H
#define TRACESHIM_LIMITS_H

/* Descriptors that can carry state. Linux' own ceiling (fs.nr_open) is 1,048,576 unless an administrator raised it. */
#define LIMIT_FDS (1u << 20)

/* One head line that we must see whole (a trace header, content-length, ...). baggage alone may have 8,192 bytes. */
#define LIMIT_HEAD_LINE 8320

/* One message head, in bytes and in fields. nginx stops at 32 KiB, Apache at 8 KiB a line and 100 fields. */
#define LIMIT_HEAD_BYTES (256u * 1024)
#define LIMIT_HEAD_FIELDS 10000

/* Pipelined requests of one connection that may be unanswered at a time; beyond it the connection passes through. */
#define LIMIT_PIPELINE 64

/* Streams of an HTTP/2 connection that are followed at a time; more pass. Servers allow 100 to 256, as RFC 9113 6.5.2 recommends. */
#define LIMIT_STREAMS 1024

/* Plain correlation headers (TRACESHIM_HEADERS) and mapped log fields (TRACESHIM_LOG_HEADERS + baggage members). */
#define LIMIT_CORRELATION_HEADERS 4
#define LIMIT_LOG_FIELDS 12

/* A correlation id: 1 to 128 characters. A header name that the configuration may ask for. A mapped value. */
#define LIMIT_CORRELATION_ID 128
#define LIMIT_HEADER_NAME 64
#define LIMIT_FIELD_VALUE 256

/* W3C Trace Context: what is kept and sent on of tracestate; W3C Baggage: all of it. */
#define LIMIT_TRACESTATE 512
#define LIMIT_TRACESTATE_MEMBERS 32
#define LIMIT_BAGGAGE 8192

/* The text area of a request: inline for the usual head, a large block when baggage or fields need it. */
#define LIMIT_TEXT_INLINE 512
#define LIMIT_TEXT_LARGE 16384

/* All that may be inserted into one head (traceparent, tracestate, baggage, b3, jaeger, correlation headers). */
#define LIMIT_INJECTION 12288

/* The last frame of a head of HTTP/2 that gets something: as long as every peer takes (RFC 9113 4.2), with its own head. */
#define LIMIT_HEAD_FRAME (16384 + 9)

/* Sessions of TLS at a time whose plain text is read; the others pass through. What an nginx worker may have connections. */
#define LIMIT_TLS_SESSIONS 65536u

/* Stacks of coroutines that are told apart; what runs on further ones is unknown. Servers with a coroutine a connection have thousands. */
#define LIMIT_STACKS 8192

/* One log line. A longer one is cut into parts, each a record of its own that says so. Docker cuts at 16 KiB. */
#define LIMIT_LOG_LINE 16384

/* Unfinished lines kept at a time, one per (log file, thread) that has one. */
#define LIMIT_PARTIAL_LINES 256

/* Lines of which only that is kept that parts of them are records already: a line of each thread of a large server. */
#define LIMIT_CUT_LINES 1024

/* After this long an unfinished line goes out as it is, with the next write of anything to the same log file. */
#define LIMIT_PARTIAL_AGE_MS 1000

/* So long it is known that a line has parts that are records already. Meanwhile lines of that file take no short way. */
#define LIMIT_CUT_AGE_MS 10000

#endif

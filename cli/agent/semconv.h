/*
 * What the bytes of an exchange mean in the HTTP semantic conventions: pure, views into what it is given.
 */
#ifndef TRACESHIM_AGENT_SEMCONV_H
#define TRACESHIM_AGENT_SEMCONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "ring_reader.h"

/* A request target, taken apart. */
struct semconv_target {
	struct ring_view authority; /* of the absolute form, without user and password */
	struct ring_view path, query;
	bool absolute, https;
	bool credentials; /* there were a user and password, which are not shown */
};

/* Views into `target`; what it does not have is empty. */
struct semconv_target semconv_split_target(struct ring_view target);

/* "host", "host:port", "[::1]:port": port 0 where none is told (or none that can be). */
struct semconv_address {
	struct ring_view host;
	uint16_t port;
};

/* As the Host field has it, an IPv6 address without brackets, too (which has no port then). */
struct semconv_address semconv_split_host(struct ring_view host);

/* The client's address out of a Forwarded or X-Forwarded-For field; empty where it tells none. */
struct ring_view semconv_forwarded_client(struct ring_view value);

/* A query as JSON string text, with the values of parameters that are credentials replaced by REDACTED. */
void semconv_put_query(struct buffer *b, struct ring_view query);

/* The method's name: RFC 9110's, "_OTHER", or "" where the exchange was not HTTP. */
const char *semconv_method(const struct ring_span_read *s);

/* The service and the method of a call of gRPC; empty where it is none. Its status: -1 where it is none, or none came. */
struct semconv_rpc {
	struct ring_view service, method;
	int status;
};

/* Views into the span. */
struct semconv_rpc semconv_rpc(const struct ring_span_read *s);

/* Is the span an error? */
bool semconv_is_error(const struct ring_span *s);

/* error.type into `text` (24 bytes); "" where there was none. */
const char *semconv_error_type(const struct ring_span *s, char text[24]);

/* An address of the span in words, into `text` (INET6_ADDRSTRLEN); "" where it is not known. */
const char *semconv_peer(const struct ring_span *s, char text[46]);

#endif

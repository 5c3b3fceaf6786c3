/*
 * Shared by the files of the module span only: span.c (the life of a span), span_text.c (what it takes of a head), span_conn.c (what is
 * known of its connection).
 */
#ifndef TRACESHIM_SPAN_INTERNAL_H
#define TRACESHIM_SPAN_INTERNAL_H

#include "span.h"

#define SPAN_ROOM 4096u
/* A method, a target of RING_TEXT_LIMIT, a version, and what else there is room for. */
#define LINE_ROOM (RING_TEXT_LIMIT + 64u)

enum line_state {
	LINE_BEFORE,
	LINE_INSIDE,
	LINE_DONE,
	LINE_APART, /* taken apart, for good */
	LINE_HTTP2, /* there is none */
	LINE_CGI    /* nor here */
};

struct span {
	uint32_t pool_word;
	uint32_t forks;    /* when it was last known to be this process's own */
	uint64_t start_ns; /* of the monotonic clock */
	uint64_t read_ns;  /* call: when its response's head was read; else 0 */
	uint64_t ticket;   /* of the entry that is held for it */
	uint16_t used;     /* bytes of `area` */
	uint16_t line_len; /* of the request line, which lies first there */
	uint8_t line;      /* enum line_state */
	bool answering;    /* bytes of the response have gone by */
	bool fresh;        /* the last of them were the first ones, too: one event, of which the time is known */
	/*
	 * Whose texts these are, and all else of the record that the head of a request says: the head's that was kept there as that one (NULL:
	 * nobody's). Then `area` is the texts, in the record's order, and nothing else. They stay when the block is given back: the next
	 * request that it is taken for mostly has the same head.
	 */
	const struct http1_known *head;
	uint64_t head_serial;
	uint32_t head_flags; /* of the record, as the head alone makes them */
	uint16_t at[RING_TEXT_COUNT];
	struct ring_span record;
	char area[]; /* right behind the record, as its texts are in the ring */
};

/* What spans know of a connection. */
struct span_conn {
	uint32_t pool_word;
	uint8_t peer_known; /* 0 not asked, 1 there is none to show, 2 it is here */
	bool peer_v6;
	bool was_injected;
	uint8_t fault; /* enum ring_span_error: what became of the connection */
	uint16_t peer_port;
	uint8_t peer[16];
	uint64_t due_ns; /* outgoing: before the first byte of the call that is being sent */
	struct span_ids injected;
	struct span *raw;
};

#define AREA_ROOM (SPAN_ROOM - (uint32_t)offsetof(struct span, area))
/* Keep a text of the span, cut where it has to be. */
void span_put_text(struct span *span, enum ring_span_text text, const char *from, size_t len);

/* Make a span of this head, which is known, and not of another one. `bytes`: the head and its blank line. */
void span_read_head(struct span *span, enum ring_span_kind kind, const struct http1_known *known, const char *bytes);

/* Method and target out of the request line, which the scanner found to be sound. Again is the same. */
void span_split_line(struct span *span, const struct http1 *up);

#endif

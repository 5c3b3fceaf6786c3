/*
 * Shared by the files of the module http2_conn only: http2_conn.c (a connection that speaks HTTP/2, and its bytes),
 * http2_streams.c (its streams), http2_served.c (requests that come in), http2_nameless.c (those of them that nobody asks for),
 * http2_call.c (requests that go out),
 * http2_insert.c (fields of ours in the program's frames).
 */
#ifndef TRACESHIM_HTTP2_CONN_H
#define TRACESHIM_HTTP2_CONN_H

#include "conn.h"
#include "http2.h"
#include "protocol.h"
#include "stream.h"

#define HTTP2_FRAME_HEAD 9u /* RFC 9113 4.1 */

enum http2_frame {
	HTTP2_FRAME_DATA = 0,
	HTTP2_FRAME_HEADERS = 1,
	HTTP2_FRAME_RST_STREAM = 3,
	HTTP2_FRAME_CONTINUATION = 9
};

/* Where one frame ends and the next begins, in the direction that the program sends. */
struct http2_walk {
	uint32_t left;   /* bytes of the frame's payload that are still to come */
	uint32_t stream; /* its own */
	uint8_t type;
	uint8_t head_len;
	char head[HTTP2_FRAME_HEAD]; /* the next frame's, in pieces */
};

#define HTTP2_WALK_PREFACE 0xff /* `type` of the preface: no frame */

/* One request and its response. */
struct http2_stream {
	uint32_t pool_word;
	uint32_t id;
	struct http2_stream *next; /* in its bucket */
	/* The head that may get something inserted: where its last frame is, while that is not out. */
	struct http2_stream *next_due;
	uint64_t frame_at;
	uint32_t frame_len;  /* without the frame's own head */
	uint32_t list_bytes; /* of the head, as SETTINGS_MAX_HEADER_LIST_SIZE counts them */
	bool due;
	bool closed;            /* over, and in no bucket any more: goes with the list of those that are due */
	bool claimed;           /* call: who makes it was decided */
	bool extended, further; /* its frame got fields; behind those of another one, in one insertion */
	struct exchange ex;
};

#define HTTP2_BUCKETS 64u

struct http2_conn {
	struct protocol protocol; /* first: conn->protocol leads here */
	struct http2 scanner;
	struct http2_sink sinks[2]; /* of what is received, of what is sent */
	struct http2_stream *bucket[HTTP2_BUCKETS];
	/* By bucket: the stream of a request that nobody has asked for (http2_nameless.c), and whether its answer has begun; 0: none. */
	uint32_t nameless[HTTP2_BUCKETS];
	uint32_t nameless_open;    /* how many there are */
	uint16_t nameless_process; /* in which they count as waiting; as struct request has it */
	bool may_be_nameless;      /* is there nothing that every request is asked for? */
	uint32_t open;             /* streams in the buckets, and nameless ones */
	uint32_t unanswered;       /* of them, with a head, and whose answer is not complete */
	struct http2_stream *
		last; /* whose head was completed last, or got a name, while it is not closed: most likely the only one */
	uint32_t begun;   /* requests whose heads were completed by the bytes at hand */
	uint32_t refused; /* the stream that could not be followed */
	bool mixed;       /* served: several were in hand, or came, when bytes came last */
	bool untracked;   /* there were more streams than are followed: nobody can say who is the only one */
	bool inserts;     /* heads that are sent are remembered for an insertion */
	int32_t writer;   /* calls: the thread that has sent them all so far; 0: none yet */
	bool shared;      /* several threads send, or may leave it to each other */

	/* What the program sends. The scanner may be ahead of what the kernel took: half->taken - sent bytes. */
	uint64_t sent;
	struct http2_walk walk; /* at `sent` */
	uint64_t ahead_hash;    /* of the bytes that were scanned ahead, as they were then */
	uint64_t taken_hash;    /* of those of them that the kernel took */
	struct http2_stream *due_first, *due_last;
	bool several_due; /* more than one since the list was empty last */
	uint32_t
		grown; /* what the program's call at hand got so far, with the heads of its records: where that is of interest */
};

static inline struct http2_conn *http2_of(const struct conn *conn)
{
	return (struct http2_conn *)(void *)conn->protocol;
}

static inline enum http2_side http2_side_of(const struct conn *conn, bool sending)
{
	return (conn_role(conn) == CONN_SERVED) == sending ? HTTP2_SERVER : HTTP2_CLIENT;
}

/* ---- http2_streams.c ---- */

/* NULL: there is none. It may be named by that. */
struct http2_stream *http2_find_stream(struct http2_conn *c, uint32_t id);
/* Is there such a stream? */
bool http2_has_stream(const struct http2_conn *c, uint32_t id);
/* A new one; NULL: too many, or no memory: the connection says so (untracked). */
struct http2_stream *http2_open_stream(struct http2_conn *c, uint32_t id);
/* Out of the buckets, and free as soon as nothing is due for it. */
void http2_close_stream(struct http2_conn *c, struct http2_stream *s);
/* The one that is not answered, if there is one only and that is certain; else NULL. */
struct http2_stream *http2_only_unanswered(struct http2_conn *c);
/* Its answer has ended; or never will: it is closed. */
void http2_finish_stream(struct conn *conn, struct http2_conn *c, struct http2_stream *s);
void http2_give_up_stream(struct conn *conn, struct http2_conn *c, struct http2_stream *s);
/* All of them end with the connection. */
void http2_drop_streams(struct conn *conn, struct http2_conn *c);
/* The head of the block that was just read is remembered until it is out. */
void http2_make_due(struct http2_conn *c, struct http2_stream *s, const struct http2_block *block);
/* The first one is out: who had it in hand? It is freed if it was closed. */
void http2_pop_due(struct http2_conn *c);

/* ---- http2_nameless.c ---- */

/*
 * The short ways, for connections whose requests may be nameless: the frames that `in` begins with, which came from the peer, as far as
 * they are heads that are known; and what is sent, as far as it is answers. Return the bytes taken, as http2_feed would have
 * taken them; the rest, and what they have not taken, is for that.
 */
size_t http2_take_known_requests(struct http2_conn *c, const char *in, size_t len);
size_t http2_take_answers(struct conn *conn, const char *out, size_t len);
static inline bool http2_is_nameless(const struct http2_conn *c, uint32_t id)
{
	return id != 0 && (c->nameless[id / 2 % HTTP2_BUCKETS] & INT32_MAX) == id;
}
/* If it is nameless, make it a stream as others are. No memory: it is followed no further, as a stream that is one too many. */
void http2_name_stream(struct http2_conn *c, uint32_t id);
void http2_name_streams(struct http2_conn *c); /* all of them */
void http2_forget_nameless(struct http2_conn *c);

/* ---- http2_conn.c ---- */

/* Follow a connection from its first byte on. false: no memory (counted). */
bool http2_begin(struct conn *conn);

/*
 * Read the program's bytes before they are sent, up to the end of the last frame in them that is no DATA; from `offset` on. false:
 * they cannot be read ahead, or not any more (the connection may be opaque then).
 */
bool http2_scan_ahead(struct conn *conn, const struct iovec *iov, int count, size_t offset);

/* ---- http2_served.c, http2_call.c: what the scanner said. Never opaque by these. ---- */

/* The stream whose request this is the beginning of, of which nothing was there before; NULL: it is not followed. */
struct http2_stream *http2_open_request(struct http2_conn *c, uint32_t id);
bool http2_served_wants(const char *name, size_t name_len);
void http2_served_field(void *conn, const struct http2_block *block, const char *name, size_t name_len,
                        const char *value, size_t value_len);
void http2_take_request(struct conn *conn, const struct http2_block *block);
bool http2_answer_wants(const char *name, size_t name_len);
void http2_answer_field(void *conn, const struct http2_block *block, const char *name, size_t name_len,
                        const char *value, size_t value_len);
void http2_take_answer(struct conn *conn, const struct http2_block *block);

bool http2_call_wants(const char *name, size_t name_len);
void http2_call_field(void *conn, const struct http2_block *block, const char *name, size_t name_len, const char *value,
                      size_t value_len);
void http2_take_call(struct conn *conn, const struct http2_block *block);
void http2_take_reply(struct conn *conn, const struct http2_block *block);
/* Who makes the call: the first answer counts. `ids`: as what it is recorded, NULL: it got no fields of ours; then it is final. */
void http2_note_caller(const struct http2_conn *c, struct http2_stream *s, struct request *caller);
void http2_claim_call(struct conn *conn, struct http2_stream *s, struct request *caller, const struct span_ids *ids);

/* ---- http2_insert.c ---- */

/* As `find_spot` and `insert` of struct protocol. */
bool http2_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot);
void http2_insert(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot, struct insertion *ins);

#endif

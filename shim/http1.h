/*
 * One direction of an HTTP/1 connection: bytes in, message boundaries out.
 *
 * The scanner is pure: no I/O, no lock, no allocation, any split of the stream; safe in a signal handler. It is strict
 * like the strictest peer: what two servers could read differently (RFC 9112 section 11) poisons it, and a poisoned
 * scanner stays so for good: the connection then passes through, untouched and untraced.
 *
 * A scanner lives for one message: it is small (see HTTP1_SIZE_MAX), and the owner takes a fresh one for the next
 * message. So a connection between two messages holds no scanner at all.
 *
 * What counts as 'could be read differently', and is ALIEN: a line end that is not CRLF, obs-fold, white space before
 * the colon, a name that is no token, any control byte but HTAB (DEL and NUL included), a malformed start line, a
 * version other than 1.0 and 1.1, a target whose form does not fit the method, Transfer-Encoding that is not exactly
 * one `chunked`, Transfer-Encoding in HTTP/1.0 or beside Content-Length, Content-Length that is not plain digits or is
 * there twice (identical or not), a body announced by a 1xx or 204 response or a CONNECT request, white space or more
 * than 16 digits in a chunk size, chunk data without its CRLF.
 */
#ifndef TRACESHIM_HTTP1_H
#define TRACESHIM_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE };

enum http1_status {
	HTTP1_MORE,     /* all bytes taken; the message goes on */
	HTTP1_HEAD_END, /* stopped right before the CRLF of the blank line; only with HTTP1_STOP_AT_BLANK */
	HTTP1_HEAD,     /* stopped right after the head */
	HTTP1_DONE,     /* stopped right after the last byte of the message */
	HTTP1_TUNNEL,   /* stopped right after a head that ends HTTP on this connection (101, 2xx to CONNECT) */
	HTTP1_ALIEN     /* not HTTP/1, or not safely readable as such; poisoned */
};

enum http1_method {
	HTTP1_GET,
	HTTP1_HEAD_METHOD,
	HTTP1_POST,
	HTTP1_PUT,
	HTTP1_DELETE,
	HTTP1_CONNECT,
	HTTP1_OPTIONS,
	HTTP1_TRACE,
	HTTP1_PATCH,
	HTTP1_OTHER
};

enum http1_body { HTTP1_BODY_NONE, HTTP1_BODY_LENGTH, HTTP1_BODY_CHUNKED, HTTP1_BODY_UNTIL_CLOSE };

/*
 * What spares most questions whether anybody wants a field: the first letters of the names that somebody may want, by
 * the length of the name. Made once, at the start: http1_filter_init, then http1_expect_field for each name.
 */
#define HTTP1_FILTER_LENGTHS 64u
struct http1_filter {
	uint32_t any;                           /* bit (first letter & 31) of every name; 0: not made yet */
	uint32_t letters[HTTP1_FILTER_LENGTHS]; /* the same, by length modulo HTTP1_FILTER_LENGTHS */
};

/* A filter that lets pass what the scanner itself needs. */
void http1_filter_init(struct http1_filter *filter);

/* Enter one name, in lower case, 1..LIMIT_HEADER_NAME bytes. */
static inline void http1_expect_field(struct http1_filter *filter, const char *name, size_t len)
{
	uint32_t letter = 1u << ((unsigned char)name[0] & 31u);

	filter->any |= letter;
	filter->letters[len % HTTP1_FILTER_LENGTHS] |= letter;
}

struct http1_known;

/*
 * Called for each head field that `wants` said yes to, once its line is whole. `name` is in lower case, `value` without
 * the white space around it; both live until the callback returns; no NUL at the end. Fields of a trailer section are
 * not reported. A wanted line whose name and value take more than LIMIT_HEAD_LINE bytes is passed over.
 */
struct http1_sink {
	/*
	 * Is the owner interested in this field? `name` lower case, `len` 1..LIMIT_HEADER_NAME. A pure function of the
	 * name. Fields that the scanner itself needs (content-length, transfer-encoding, connection, upgrade) are not
	 * asked for. NULL: no field is wanted.
	 */
	bool (*wants)(void *owner, const char *name, size_t len);
	void (*field)(void *owner, const char *name, size_t name_len, const char *value, size_t value_len);
	void *owner;
	const struct http1_filter
		*filter;           /* every name that `wants` may say yes to; NULL or not made: ask for every field */
	struct http1_known *known; /* what the last heads of this direction said; NULL: not known */
};

/*
 * Give the scanner a buffer of LIMIT_HEAD_LINE bytes for a line that is split over calls; NULL: none to be had (ALIEN).
 * `owner` is the sink's (NULL without a sink). At most one call per scanner. The owner frees `line` when it is done
 * with the scanner. Needed only while the name of a split field may still be a wanted one, and for the fields that are.
 */
typedef char *(*http1_line_buffer)(void *owner);

#define HTTP1_STOP_AT_BLANK 0x01u /* report HTTP1_HEAD_END, for those who insert there */
#define HTTP1_TO_HEAD 0x02u       /* (responses) the request was HEAD */
#define HTTP1_TO_CONNECT 0x04u    /* (responses) the request was CONNECT */

/*
 * Public to be embedded. Fields are the scanner's own but for `line`, which the owner frees, and those marked 'result',
 * which are valid from HTTP1_HEAD_END or HTTP1_HEAD on (`method` as soon as a field is reported). Copy it with
 * http1_fork only: a plain copy would write its split lines over those of the original.
 */
struct http1 {
	uint64_t remaining;    /* body or chunk bytes still to come */
	char *line;            /* split line, from http1_line_buffer, or NULL */
	const char *inherited; /* a fork's: the split line of the original, until `line` is there */
	uint32_t head_bytes;   /* of the head, then of the trailer section too */
	uint16_t head_fields;  /* likewise */
	uint16_t line_len;     /* bytes kept in `line`; outside fields: progress within the current element */
	uint16_t status;       /* result: status code of a response */
	uint8_t kind;          /* enum http1_kind */
	uint8_t state;
	uint8_t options;  /* HTTP1_* options above */
	uint8_t seen;     /* framing fields seen */
	uint8_t field;    /* whose the split line is */
	uint8_t name_len; /* of the split line's name, which stands in front of its value */
	uint8_t method;   /* result: enum http1_method of a request */
	uint8_t body;     /* result: enum http1_body; HTTP1_BODY_NONE for a Content-Length of 0 */
	uint8_t minor;    /* result: 0 for HTTP/1.0, 1 for HTTP/1.1 */
	bool close;       /* result: the connection ends after this message */
	bool upgrade;     /* result: the request asks for an upgrade */
	bool interim;     /* result: a 1xx response other than 101: the real one follows */
	char scratch[8];  /* the method so far */
};

#define HTTP1_SIZE_MAX 64
_Static_assert(sizeof(struct http1) <= HTTP1_SIZE_MAX, "a scanner is one cache line");

/*
 * A head that was read, and how it left its scanner. Clients, load balancers and health checks send the same head again and
 * again, servers the same head in answer: one that is the same in each byte need not be read again. What a head does is a
 * function of its bytes, the scanner's kind and options and what the sink wants, so that whoever sent it does not matter.
 *
 * Owned by the caller, for one thread or lock at a time and one sink's `wants`; all zero: no head is known. The fields are the
 * scanner's own.
 */
#define HTTP1_KNOWN_BYTES 758 /* more is a head with cookies, which mostly has a value of its own somewhere */
#define HTTP1_KNOWN_FIELDS 8
#define HTTP1_KNOWN_NAMES 128
struct http1_known {
	uint16_t len; /* of the head, without its blank line; 0: none */
	uint16_t
		whole; /* the owner's: with its blank line, where the head may be taken in few steps; 0 when it is kept */
	uint16_t unequal; /* heads since the last one that was the same */
	uint8_t options, fields;
	uint8_t names_len;
	uint8_t mark;    /* the owner's, of this head: 0 when it is kept */
	uint64_t serial; /* of the head: another one each time that one is kept here */
	/* What a head that comes again is asked for lies at the beginning, in few lines of the cache. */
	struct http1 after;               /* right before the blank line */
	char head[HTTP1_KNOWN_BYTES + 2]; /* and the blank line, though that was not seen */
	struct {
		uint16_t value, len; /* in the head, without the white space around it */
		uint8_t name, name_len;
	} field[HTTP1_KNOWN_FIELDS];   /* those that the sink wants */
	char names[HTTP1_KNOWN_NAMES]; /* of theirs, in lower case */
};

/* Begin a message. `options` as above. Cannot fail. */
void http1_init(struct http1 *h, enum http1_kind kind, unsigned options);

/*
 * Make `copy` a second scanner at the same place, for speculation: feed it bytes that may not be sent after all, look
 * at what it says, drop it. It takes a line buffer of its own when it needs one (free copy->line if it is not NULL);
 * until then it reads the original's, which must be neither fed nor freed before the copy is dropped. Forks can be
 * forked.
 */
void http1_fork(struct http1 *copy, const struct http1 *h);

/*
 * Take the next bytes of the direction.
 *
 * in, len  borrowed for the call; any split; len 0 is HTTP1_MORE (unless the message is over, see below)
 * sink     the owner's callbacks; NULL when it wants no field. buffer: may be NULL, a split line is then ALIEN
 * used     out: bytes taken. Fewer than len exactly when the return value says 'stopped'; call again with the rest
 *          (after HTTP1_HEAD_END and HTTP1_HEAD with the same scanner, after HTTP1_DONE with a fresh one).
 *          HTTP1_ALIEN takes them all.
 * Every byte is reported once. A message without a body gives HTTP1_HEAD and, at the next call (len may be 0),
 * HTTP1_DONE. A scanner that said HTTP1_DONE, HTTP1_TUNNEL or HTTP1_ALIEN goes on saying so (taking nothing; ALIEN:
 * everything).
 *
 * The sequence of events does not depend on how the stream is split. HTTP1_HEAD_END comes at a CR in first place of a
 * line, whatever follows it: that a line feed does not is only known later (ALIEN), after the owner has inserted. The
 * head up to there is sound, though: what is ALIEN about its fields was reported before.
 * RFC 9110, RFC 9112 sections 2 to 7, 11.
 */
enum http1_status http1_feed(struct http1 *h, const struct http1_sink *sink, http1_line_buffer buffer, const char *in,
                             size_t len, size_t *used);

/* The same, quicker, for what follows HTTP1_HEAD_END: the blank line is then most likely there whole. */
enum http1_status http1_feed_blank(struct http1 *h, const struct http1_sink *sink, http1_line_buffer buffer,
                                   const char *in, size_t len, size_t *used);

/*
 * The same for `len` body bytes that nobody saw (sendfile, splice). HTTP1_MORE, HTTP1_DONE (`used` may be fewer than
 * len: the rest belongs to the next message), HTTP1_TUNNEL, or HTTP1_ALIEN when they would not be pure body data: in a
 * head, or beyond the end of a chunk.
 */
enum http1_status http1_skip(struct http1 *h, uint64_t len, uint64_t *used);

/* The same, sooner, of all that is left of a body of known length; false, and nothing done, if it is anything else. */
bool http1_skip_rest(struct http1 *h, uint64_t len);

/*
 * The direction ended. HTTP1_DONE when the message is complete with that (body until close, or everything was there),
 * HTTP1_TUNNEL after that, else HTTP1_ALIEN (an untouched scanner included: ask http1_untouched first).
 */
enum http1_status http1_eof(struct http1 *h);

/*
 * Is the message's head (its first byte included) still unfinished? Is not one byte of it here yet? Empty lines before
 * a request (RFC 9112 2.2) are not part of it: after whole ones a scanner is still untouched. Poisoned: both false.
 */
bool http1_in_head(const struct http1 *h);
bool http1_untouched(const struct http1 *h);

/* What http1_take_known found: the head, without its blank line; where the message ends, or the bytes do; whether it does. */
struct http1_message {
	size_t head, end;
	bool done;
};

/*
 * Take a message whose head is known (sink->known), and as much of its body as lies in `total` bytes, of which the first `len`
 * are at `in`. All at once, what http1_feed would do of the same bytes in several steps, with a scanner that http1_init gave these
 * `options`; `h` need not be initialised. False, and nothing done, where it would do something else too: the head is another
 * one, the blank line is not there, chunks, 1xx, tunnels.
 */
bool http1_take_known(struct http1 *h, unsigned options, const struct http1_sink *sink, const char *in, size_t len,
                      size_t total, struct http1_message *message);

/*
 * Is a request with this head at its end with that? Of bytes that are the head and its blank line, http1_use_known makes `h`, which need
 * not be initialised, what http1_take_known would, but hands no field over.
 */
bool http1_is_whole(const struct http1_known *known);
void http1_use_known(struct http1 *h, struct http1_known *known);
/* The same of a response with a known length, of whose body so many bytes, but not all, have come. */
void http1_use_known_body(struct http1 *h, const struct http1_known *known, uint64_t body);

enum http1_sniff { HTTP1_SNIFF_NO, HTTP1_SNIFF_MAYBE, HTTP1_SNIFF_YES };

/*
 * Do these first bytes of a client's direction begin an HTTP/1 request? YES needs a known method, a space and the first
 * byte of a target; MAYBE: all bytes so far agree, but they are too few (0 included). "PRI * HTTP/2.0" is NO. Known are
 * also the methods of WebDAV and a few others that enum http1_method calls HTTP1_OTHER. Empty lines may come first.
 */
enum http1_sniff http1_sniff_request(const char *in, size_t len);

#endif

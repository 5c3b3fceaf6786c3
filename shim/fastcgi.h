/*
 * One direction of a FastCGI connection: bytes in, records and what they say out.
 *
 * The scanner is pure, as http1.h: no I/O, no lock, no allocation, any split of the stream; safe in a signal handler. It follows
 * one request at a time, as all servers and web servers in use do: a second one that begins before the first has ended poisons it
 * (FASTCGI_ALIEN), as does what two readers could take differently: a version other than 1, a record type that does not exist or
 * belongs to the other direction, a BEGIN_REQUEST or END_REQUEST that is not 8 bytes long, pairs that reach beyond the end of the
 * params or beyond LIMIT_HEAD_BYTES. A poisoned scanner stays so for good. Source: FastCGI specification 1.0.
 */
#ifndef TRACESHIM_FASTCGI_H
#define TRACESHIM_FASTCGI_H

#include "cgi.h"

#define FASTCGI_HEADER 8

enum fastcgi_side { FASTCGI_REQUESTS, FASTCGI_RESPONSES };

enum fastcgi_status {
	FASTCGI_MORE,  /* all bytes taken */
	FASTCGI_BEGIN, /* stopped behind a BEGIN_REQUEST */
	FASTCGI_BLANK, /* stopped before the record that ends the params; only with `stops`, and if its header lies whole in the input */
	FASTCGI_HEAD,   /* stopped behind it */
	FASTCGI_BODY,   /* stopped behind the record that ends stdin */
	FASTCGI_ANSWER, /* (responses) stopped somewhere behind the head of the response: h->answer */
	FASTCGI_END,    /* (responses) stopped behind END_REQUEST */
	FASTCGI_ALIEN   /* poisoned; all bytes taken */
};

/* Public to be embedded. Fields are the scanner's own but for pairs.line (cgi.h), `stops`, which the owner sets, and the results. */
struct fastcgi {
	uint32_t content; /* bytes of the record at hand still to come, without its padding */
	uint16_t id;      /* result: the request that is followed; 0: none */
	uint8_t side;     /* enum fastcgi_side */
	uint8_t type;     /* of the record at hand; 0: its header is not whole */
	uint8_t have;     /* bytes in `header` */
	uint8_t padding;
	uint8_t header[FASTCGI_HEADER];
	bool of_ours;   /* the record at hand is of the request that is followed, or begins it */
	bool empty;     /* it has no content: it ends its stream */
	bool in_params; /* these have not ended */
	bool stops, told_blank;
	bool begun; /* result: a BEGIN_REQUEST was whole: it is FastCGI */
	bool poisoned;
	struct cgi_pairs pairs;   /* requests */
	struct cgi_answer answer; /* responses; result */
};

/* Begin with the first byte of a direction. */
void fastcgi_init(struct fastcgi *h, enum fastcgi_side side);

/* Responses: what comes next is the answer to this request. */
void fastcgi_expect(struct fastcgi *h, uint16_t id);

/* Requests: the one that was followed is answered, and the next one may begin. */
void fastcgi_close(struct fastcgi *h);

/*
 * Take the next bytes of the direction. `used`: bytes taken, fewer than len exactly when it stopped; call again with the rest.
 * `buffer` as for cgi_pairs_feed. The sequence of events does not depend on how the stream is split, but for FASTCGI_BLANK.
 */
enum fastcgi_status fastcgi_feed(struct fastcgi *h, const struct cgi_sink *sink, http1_line_buffer buffer,
                                 const char *in, size_t len, size_t *used);

/* The same for bytes that nobody saw: only the inside of a record's content that is read by nobody. false: they are not, and it is poisoned. */
bool fastcgi_skip(struct fastcgi *h, size_t len);

/* As cgi_pairs_fork, of the whole scanner. */
bool fastcgi_fork(struct fastcgi *copy, const struct fastcgi *h, http1_line_buffer buffer);

/* Can these be the first bytes of a client's direction? A BEGIN_REQUEST, as far as it is there; len 0: no. */
bool fastcgi_sniff(const char *in, size_t len);

/* The header of a PARAMS record with `len` bytes of content (65535 at most). */
void fastcgi_params_header(char out[FASTCGI_HEADER], uint16_t id, size_t len);

#endif

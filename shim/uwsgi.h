/*
 * The client's direction of a uwsgi connection: one packet, which is a head of four bytes and pairs, then the request's body until
 * the connection ends. The response is HTTP's (http1.h).
 *
 * The scanner is pure, as http1.h: no I/O, no lock, no allocation, any split of the stream; safe in a signal handler. Poison is a
 * packet whose pairs do not end with it, or that takes more than LIMIT_HEAD_FIELDS pairs. Source: "The uwsgi (lowercase) Protocol",
 * in uWSGI's documentation.
 */
#ifndef TRACESHIM_UWSGI_H
#define TRACESHIM_UWSGI_H

#include "cgi.h"

#define UWSGI_PACKET_HEAD 4
#define UWSGI_PACKET_MAX 65535u /* bytes of pairs */
#define UWSGI_BUFFER 4096u      /* of these uWSGI takes so many where its buffer-size does not say otherwise */

enum uwsgi_status {
	UWSGI_MORE, /* all bytes taken */
	UWSGI_HEAD, /* stopped behind the packet */
	UWSGI_ALIEN /* poisoned; all bytes taken */
};

/* Public to be embedded. Fields are the scanner's own but for pairs.line (cgi.h) and the results. All zero: uwsgi_init. */
struct uwsgi {
	uint32_t left; /* bytes of the packet still to come */
	uint8_t have;  /* bytes of its head that are here; the head itself: */
	uint8_t head[UWSGI_PACKET_HEAD];
	bool begun; /* result: a pair was whole: it is uwsgi */
	bool headed, poisoned;
	struct cgi_pairs pairs;
};

/* Begin with the first byte of a packet. */
void uwsgi_init(struct uwsgi *h);

/* Take the next bytes; `used`: fewer than len exactly when it stopped. `buffer` as for cgi_pairs_feed. */
enum uwsgi_status uwsgi_feed(struct uwsgi *h, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                             size_t len, size_t *used);

/*
 * Can these be the first bytes of a packet of variables? By its head, and as far as it is there by the first name, which is in capital
 * letters. Four bytes at least; `surely`: with the first letter of the name.
 */
bool uwsgi_sniff(const char *in, size_t len, bool surely);

#endif

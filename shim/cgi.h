/*
 * What FastCGI and uwsgi have of CGI (RFC 3875): the request's head as pairs of names and values, and the head of a response.
 * Pure: bytes in, pairs out, any split; no I/O, no lock, no allocation; safe in a signal handler.
 */
#ifndef TRACESHIM_CGI_H
#define TRACESHIM_CGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http1.h"
#include "limits.h"

/* How lengths are written: one or four bytes, both of them first (FastCGI 3.4); two bytes, little endian, each before its text (uwsgi). */
enum cgi_lengths { CGI_FASTCGI, CGI_UWSGI };

/*
 * Called for each pair whose name and value take no more than LIMIT_HEAD_LINE bytes, once it is whole. Both as they stand in the
 * stream, borrowed until it returns, no NUL at the end; names of 1..LIMIT_HEADER_NAME + 5 bytes only.
 */
struct cgi_sink {
	void (*pair)(void *owner, const char *name, size_t name_len, const char *value, size_t value_len);
	void *owner;
};

/* Public to be embedded. Fields are the reader's own but for `line`, which the owner frees. All zero but `kind` and `limit`: nothing was read. */
struct cgi_pairs {
	char *line;         /* a pair that is split over calls, LIMIT_HEAD_LINE bytes from http1_line_buffer, or NULL */
	uint32_t bytes;     /* so far */
	uint32_t limit;     /* that they may be, set by the owner; LIMIT_HEAD_BYTES at most */
	uint32_t name, all; /* bytes of the name, and of name and value, of the pair at hand */
	uint32_t at;        /* of these, how many are here */
	uint16_t count;     /* pairs so far; LIMIT_HEAD_FIELDS at most */
	uint8_t kind;       /* enum cgi_lengths */
	uint8_t have;       /* bytes in `lengths`; inside a pair another number */
	uint8_t lengths[8];
	bool kept; /* the pair at hand is kept in `line`, else passed over */
};

/*
 * Take the next bytes of the pairs. false: not sound, or beyond a limit. `buffer` is asked for a line at most once a reader, where a
 * pair is split over calls; without one that pair is passed over.
 */
bool cgi_pairs_feed(struct cgi_pairs *p, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                    size_t len);
/* Is the last pair whole, so that the stream may end here? */
bool cgi_pairs_whole(const struct cgi_pairs *p);
/*
 * Make `copy` a second reader at the same place, for a dry run; it takes a line of its own, which its owner frees. false: none to
 * be had, and `copy` is not to be used.
 */
bool cgi_pairs_fork(struct cgi_pairs *copy, const struct cgi_pairs *p, http1_line_buffer buffer);

/*
 * The head field that a variable tells of: "HTTP_X_TRACE_ID" is "x-trace-id" (RFC 3875 4.1.18). `out` takes LIMIT_HEADER_NAME bytes.
 * Returns the length; 0: it is no such variable, or too long.
 */
size_t cgi_field_name(char *out, const char *name, size_t len);

/* The method that REQUEST_METHOD names. */
enum http1_method cgi_method(const char *name, size_t len);

/*
 * Write pairs that say what `lines` ("name: value\r\n" each, `len` bytes) say. They may lie in the same block as `out`, at least
 * CGI_GROWTH bytes behind it. Returns the bytes written.
 */
#define CGI_GROWTH 512
size_t cgi_format_pairs(enum cgi_lengths kind, const char *lines, size_t len, char *out);

/* The head of a response, as CGI programs write it: lines that end in LF or CR LF, among them perhaps Status (RFC 3875 6.3). */
struct cgi_answer {
	uint32_t bytes;  /* of the head so far */
	uint16_t status; /* result: once `headed`; 200 where nothing is said */
	uint8_t line_len;
	bool headed, located, first;
	char line[24]; /* the first bytes of the line at hand */
};

/* Take the next bytes of the response; those behind the head are nothing. A head of more than LIMIT_HEAD_BYTES is taken for one with status 0. */
void cgi_answer_feed(struct cgi_answer *answer, const char *in, size_t len);

#endif

/*
 * Both directions of an HTTP/2 connection: bytes in, what happens to its streams out.
 *
 * The scanner is pure: no I/O, no lock, any split of the stream; safe in a signal handler. All it allocates is what
 * HPACK's tables need, from pools (hpack.h), and a block of 512 bytes a direction for what is told again. It is strict like the strictest peer: what is a connection error to RFC
 * 9113 poisons the scanner for good, and what is an error of one stream makes that one's block unsound: nothing may be
 * concluded from it, and nothing be inserted.
 *
 * A direction is named by who sends it. The two belong together: what a side may send is what the other one's SETTINGS
 * say, from the moment on that it acknowledges them, in order with its own frames. So each side's bytes have to be fed
 * no later than the other side can have answered them: what the program sends, before it is sent; what it receives,
 * before it sees it.
 *
 * There is no fork of a scanner as there is for HTTP/1: HPACK's tables are far too large to copy. Who has to know what
 * a call's bytes are before it is known how many of them go out feeds them all, and remembers how far that was.
 *
 * What is ALIEN: a preface that is none; a first frame that is not SETTINGS; a frame longer than the other side's
 * SETTINGS_MAX_FRAME_SIZE, of a length that its type cannot have, on a stream that its type cannot have; padding that
 * is longer than the frame; anything between the frames of a block; stream ids of the wrong parity, of streams that
 * nobody opened, or promised out of order; an acknowledgement of no SETTINGS; values of SETTINGS that are errors; a
 * block that HPACK cannot decode, or that is beyond the limits below.
 */
#ifndef TRACESHIM_HTTP2_H
#define TRACESHIM_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

enum http2_side { HTTP2_CLIENT, HTTP2_SERVER };

enum http2_status {
	HTTP2_MORE,   /* all bytes taken */
	HTTP2_BLOCK,  /* stopped right after the last frame of a header block: half->block */
	HTTP2_END,    /* stopped right after DATA that ends its side of half->stream */
	HTTP2_RESET,  /* stopped right after RST_STREAM of half->stream; half->code */
	HTTP2_GOAWAY, /* stopped right after GOAWAY: half->stream is the last one that will be looked at; half->code */
	HTTP2_SETTINGS,     /* stopped right after SETTINGS */
	HTTP2_SETTINGS_ACK, /* stopped right after the acknowledgement of SETTINGS */
	HTTP2_ALIEN         /* not HTTP/2, or not safely readable as such; poisoned, both directions */
};

enum http2_kind {
	HTTP2_REQUEST,  /* of the client, opens its stream */
	HTTP2_RESPONSE, /* the final one */
	HTTP2_INTERIM,  /* a 1xx response */
	HTTP2_TRAILERS, /* of either side */
	HTTP2_PROMISE   /* PUSH_PROMISE: a request that the server made up, for block.promised */
};

/*
 * A header block. All of it is known at HTTP2_BLOCK; in the callback `field` those marked 'early' are (a block's kind
 * is only known once its fields are).
 */
struct http2_block {
	uint32_t stream;   /* early */
	uint32_t promised; /* early; PUSH_PROMISE: the stream that is promised, else 0 */
	bool opens;        /* early; of the client: the stream did not exist before */
	bool end_stream;   /* early; the last that this side sends on the stream */
	uint8_t kind;      /* enum http2_kind */
	/*
	 * It keeps to RFC 9113 8.2 and 8.3 (but for white space around values, which nobody minds); else its sender is
	 * in error, and no two readers need agree on it.
	 */
	bool sound;
	uint16_t status;     /* of HTTP2_RESPONSE and HTTP2_INTERIM */
	bool grpc;           /* its content-type is that of gRPC */
	uint8_t grpc_status; /* what grpc-status says; HTTP2_NO_GRPC_STATUS: nothing */
	uint16_t fields;     /* pseudo-fields included */
	uint32_t list_bytes; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts them: name, value and 32 for each field */
	/*
	 * Its last frame, the one with END_HEADERS: type, flags, length of the payload and where the frame header
	 * begins, counted from the direction's first byte (the client's preface included) as half->taken is. So it lies
	 * whole in a call's bytes exactly if frame_at is not before what `taken` was at the beginning of the call.
	 */
	uint8_t frame_type, frame_flags;
	uint8_t pad;        /* bytes of padding at its end */
	uint32_t frame_len; /* without the 9 bytes of its header */
	uint64_t frame_at;
};

#define HTTP2_NO_GRPC_STATUS 255

struct http2_sink {
	/*
	 * Which fields are to be told of. The answer must be the same for as long as the connection lives: a block that comes
	 * again is not decoded, and what was told of it is told again. NULL: all of them.
	 */
	bool (*wants)(const char *name, size_t name_len);
	/*
	 * A field of a block, as it is decoded: also those of blocks that turn out unsound. The name is in lower case
	 * if the block is sound. Name and value live until the callback returns; no NUL at the end; 0..HPACK_STRING_MAX
	 * bytes. NULL: not wanted.
	 */
	void (*field)(void *owner, const struct http2_block *block, const char *name, size_t name_len,
	              const char *value, size_t value_len);
	/* Bytes of DATA passed, without padding. Called once or several times a frame. NULL: not wanted. */
	void (*data)(void *owner, uint32_t stream, size_t len);
	void *owner;
};

/* What a SETTINGS frame says, while it is not acknowledged. */
struct http2_settings {
	uint32_t table_low, table; /* SETTINGS_HEADER_TABLE_SIZE: the smallest value of the frame, and the last one */
	uint32_t max_frame, max_list;
	uint32_t said; /* which of them: bit 1 << identifier */
};

/*
 * SETTINGS of one side that may be unacknowledged at a time; more is ALIEN. Peers send one at the start, and hardly a
 * second.
 */
#define HTTP2_SETTINGS_PENDING 8

/* CONTINUATION frames of one block; nghttp2 stops at 8, Apache at 100. */
#define HTTP2_CONTINUATIONS 64

#define HTTP2_FRAME_MIN 16384u /* every peer takes frames of this length */

struct hpack;

/*
 * A block that may come again: most requests of a client differ in nothing, or in what they have in HPACK's table; and so do answers to
 * them. While the table is as it was, the same bytes mean the same; and what does not refer to the table, means the same whatever is in it.
 * What such a block enters into the table is due, until the decoder is needed for another one.
 */
#define HTTP2_REPEATED_MAX 192
struct http2_repeated {
	uint8_t len;  /* of its bytes; 0: none */
	bool request; /* a sound one, which opened its stream; nothing was told of it, and it enters nothing */
	bool grpc;
	uint8_t grpc_status;
	uint16_t seen, status, fields; /* as of the block */
	uint16_t due;                  /* so often it came, and the decoder does not know */
	uint16_t enough; /* so often again, and there is nothing else in the table; 0: it enters nothing */
	uint32_t list_bytes;
	char bytes[HTTP2_REPEATED_MAX];
};

/* What was told of that block: each field's lengths, of name and value, and these. */
#define HTTP2_TOLD_MAX 506
struct http2_told {
	uint32_t pool_word;
	uint16_t len;
	char text[HTTP2_TOLD_MAX];
};

/* One direction. Fields are the scanner's own but for those marked 'result', which the statuses above make valid. */
struct http2_half {
	uint64_t taken;           /* result, always: bytes fed and skipped so far */
	uint32_t stream, code;    /* result; within a frame: its own */
	struct http2_block block; /* result */
	struct hpack *hpack;      /* of the sender's blocks; NULL: none yet */
	uint32_t remaining;       /* bytes of the frame's payload that are still to come, its padding included */
	uint32_t block_bytes;     /* of the block so far, encoded */
	uint32_t last;            /* client: the highest stream it opened; server: the highest it promised */
	uint16_t seen;            /* pseudo-fields of the block, and what was wrong with it */
	uint8_t state;            /* of http2.c */
	uint8_t type, flags, pad; /* of the frame */
	uint8_t part_len;         /* bytes kept in `part` */
	uint8_t continuations;    /* of the block */
	bool begun, in_block;     /* the first frame was there; more frames of a block are due */
	bool known, untold;       /* the block is the repeated one; what was told of it has no room in `told` */
	uint8_t kept_len;         /* bytes of the block in repeated.bytes, where these may be what comes again */
	/*
	 * The owner's, before the direction's first byte: its blocks are of no interest, and are not decoded. No field of theirs is
	 * reported, and each is said to be HTTP2_RESPONSE (or HTTP2_PROMISE), unsound, of status 0.
	 */
	bool undecoded;
	uint8_t announcements;  /* of the other side's SETTINGS, not yet acknowledged by this one: oldest first */
	unsigned char part[16]; /* what is split over calls: a frame header, or another small element */
	uint32_t max_frame;     /* acknowledged, of the other side's SETTINGS */
	uint32_t max_list;
	uint32_t table; /* the longest that HPACK's may be */
	struct http2_settings announced[HTTP2_SETTINGS_PENDING];
	struct http2_settings said; /* by this side's SETTINGS frame that is being read */
	struct http2_repeated repeated;
	struct http2_told *told; /* NULL: nothing was, yet */
};

struct http2 {
	struct http2_half half[2]; /* by enum http2_side */
	bool alien;
};

/*
 * Begin a connection, at the first byte of both directions: of the client's that is the preface. `upgraded`: by
 * HTTP/1's Upgrade: the server's direction begins behind the 101's blank line, and stream 1 is open, its request
 * complete (the client still sends the preface). Cannot fail; allocates nothing yet.
 */
void http2_init(struct http2 *h, bool upgraded);

/* Give back what it allocated. Afterwards, and when all zero, again is nothing. */
void http2_free(struct http2 *h);

/*
 * Take the next bytes of the direction `from`.
 *
 * in, len  borrowed for the call; any split; len 0 is HTTP2_MORE
 * sink     NULL: nothing is wanted
 * used     out: bytes taken. Fewer than len only when the return value says 'stopped' (and perhaps not even then); call
 *          again with the rest. HTTP2_ALIEN takes them all.
 * The sequence of events and callbacks does not depend on how the stream is split, but for the pieces of DATA.
 * An ALIEN scanner says so for good, for both directions. No memory is HTTP2_ALIEN, too.
 * RFC 9113 3.4, 4, 5.1.1, 6, 8.2, 8.3; RFC 7541.
 */
enum http2_status http2_feed(struct http2 *h, enum http2_side from, const struct http2_sink *sink, const char *in,
                             size_t len, size_t *used);

/*
 * The same for `len` bytes that nobody saw (sendfile). They must be DATA's: `used` may be fewer than len, at the end of
 * a frame that ends its stream (HTTP2_END), or HTTP2_ALIEN where they would be anything else than data.
 */
enum http2_status http2_skip(struct http2 *h, enum http2_side from, const struct http2_sink *sink, uint64_t len,
                             uint64_t *used);

/*
 * Bytes still to come of the frame (or preface) that the direction is in. 0: it is between two, or within the next one's header, of which
 * half->part_len bytes lie in half->part. Not for an ALIEN scanner.
 */
uint32_t http2_left(const struct http2_half *half);

/* Did the direction end between two frames, outside a block? */
bool http2_between_frames(const struct http2 *h, enum http2_side from);

/*
 * What may be inserted into frames of the direction `from`: the longest payload that the other side is sure to take,
 * and the longest list of fields (UINT32_MAX: it names no limit). Of several values that it may go by, the smallest.
 */
uint32_t http2_max_frame(const struct http2 *h, enum http2_side from);
uint32_t http2_max_list(const struct http2 *h, enum http2_side from);

enum http2_sniff { HTTP2_SNIFF_NO, HTTP2_SNIFF_MAYBE, HTTP2_SNIFF_YES };

/*
 * Do these first bytes of a client's direction begin with the preface? MAYBE: all bytes so far agree, but they are too
 * few.
 */
#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_LEN 24
enum http2_sniff http2_sniff_preface(const char *in, size_t len);

/*
 * Write one field as HPACK's 'literal without indexing, new name' (RFC 7541 6.2.2), not Huffman-coded: it means the
 * same whatever the tables hold, and changes none. `name` in lower case. Returns the bytes written, 0 if `room` is too
 * small. Pure.
 */
size_t http2_put_field(char *out, size_t room, const char *name, size_t name_len, const char *value, size_t value_len);

/*
 * Write what stands for the last frame of a block when `fields` (as of http2_put_field) are appended to the block: the
 * frame itself, longer, if that is within max_frame; else the frame without END_HEADERS, and CONTINUATION behind it.
 *
 * frame      the whole of it: 9 bytes and its payload, HEADERS or CONTINUATION with END_HEADERS, of a block that was
 *            sound; where `out` is, or elsewhere
 * room       at most frame_len + fields_len + 9 for each max_frame bytes begun of the fields are needed
 * Returns the bytes written; 0, with `out` perhaps written to, if there is no room or if it is no such frame. Pure.
 */
size_t http2_extend_frame(char *out, size_t room, const char *frame, size_t frame_len, const char *fields,
                          size_t fields_len, uint32_t max_frame);

#endif

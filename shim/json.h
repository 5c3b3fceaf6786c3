/*
 * JSON text as far as log records need it: escape bytes into a string, and look whether a line is one whole object.
 * Pure: bytes in, bytes out, no I/O, no lock, no allocation; signal-safe. RFC 8259, RFC 3629.
 */
#ifndef TRACESHIM_JSON_H
#define TRACESHIM_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Room that json_escape needs for `len` bytes: every byte an escape, and one vector store beyond the end. */
#define JSON_ESCAPE_BOUND(len) ((len)*6 + 16)

/* Objects and arrays inside each other, the outermost counted; what is deeper is not taken for an object of ours. */
#define JSON_DEPTH_MAX 64

/* Keys are reported unescaped; one that has escapes and is longer than this is not reported. */
#define JSON_KEY_MAX 128

/*
 * Write `len` bytes as the inside of a JSON string.
 *
 * out  JSON_ESCAPE_BOUND(len) bytes, all of which may be written to
 * Valid UTF-8 is copied. '"', '\\' and bytes below 0x20 are escaped. A byte 0xNN that is no part of valid UTF-8 becomes
 * \u00NN: in what we write, an escape from \u0080 to \u00ff always means one such byte (the character of that number is
 * written as two bytes of UTF-8), so that the program's bytes can be had back exactly; a \ufffd would have lost them.
 * Returns the end of what was written. `line`: NULL when there is a '\n' among the bytes; what `out` then holds means nothing.
 */
char *json_escape_text(char *out, const char *in, size_t len, bool line);

static inline char *json_escape(char *out, const char *in, size_t len)
{
	return json_escape_text(out, in, len, false);
}

/* The same of bytes that should be one line. */
static inline char *json_escape_line(char *out, const char *in, size_t len)
{
	return json_escape_text(out, in, len, true);
}

/* Length (1 to 4) of the valid UTF-8 character at `in`, of which `len` >= 1 bytes may be read; 0: there is none. */
size_t json_utf8_char(const char *in, size_t len);

/* Where to cut `len` bytes without splitting a character: len, or up to 3 less when the end is an unfinished one. */
size_t json_utf8_cut(const char *in, size_t len);

/*
 * Is this exactly one JSON object, white space around it allowed?
 *
 * key    called for each key of the object itself (not of objects inside), unescaped, not NUL-terminated, with the first
 *        byte of its value; it may have been called before the answer turns out to be 'no'
 * brace  out: offset of the '}' that ends the object;  empty  out: whether the object has no member
 * Strict RFC 8259 with valid UTF-8; JSON_DEPTH_MAX levels. Unpaired \u surrogates are in the grammar and allowed.
 */
bool json_scan_object(const char *in, size_t len,
                      void (*key)(void *owner, const char *name, size_t name_len, char value), void *owner,
                      size_t *brace, bool *empty);

#endif

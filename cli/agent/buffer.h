/*
 * A growing run of bytes, and what JSON needs to be written into it. The agent's spans are written this way and not as cJSON
 * trees: a tree of a span's attributes costs ten times what its text does (DESIGN.md, 'The agent').
 *
 * A buffer that could not grow is `failed` and takes nothing more: look once, at the end.
 */
#ifndef TRACESHIM_AGENT_BUFFER_H
#define TRACESHIM_AGENT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buffer {
	char *at;
	size_t len, room;
	bool failed;
};

/* Make room for `more` bytes behind the end. False (and `failed`) when there is no memory. */
bool buffer_reserve(struct buffer *b, size_t more);

/* Append. What does not fit into memory makes it `failed`. */
void buffer_put(struct buffer *b, const void *bytes, size_t len);

static inline void buffer_put_text(struct buffer *b, const char *text)
{
	buffer_put(b, text, strlen(text));
}

/* In decimal. */
void buffer_put_number(struct buffer *b, uint64_t number);

/* Lower-case hex. */
void buffer_put_hex(struct buffer *b, const uint8_t *bytes, size_t len);

/* The inside of a JSON string: escaped, and what is no UTF-8 replaced by U+FFFD. */
void buffer_put_json(struct buffer *b, const char *bytes, size_t len);

/* The same with quotes around it. */
void buffer_put_quoted(struct buffer *b, const char *bytes, size_t len);

/* Empty it; keeps the memory. */
void buffer_clear(struct buffer *b);

/* Give the memory back. */
void buffer_free(struct buffer *b);

#endif

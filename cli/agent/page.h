/*
 * The page and the metrics, by HTTP.
 */
#ifndef TRACESHIM_AGENT_PAGE_H
#define TRACESHIM_AGENT_PAGE_H

#include <stdbool.h>

#include "buffer.h"
#include "store.h"

struct page;

struct page_settings {
	const char *address;       /* "127.0.0.1:4319", "[::1]:4319", ":4319" (loopback); port 0: any */
	const char *token;         /* NULL: none */
	const struct store *store; /* NULL: only /metrics */
	void (*metrics)(void *owner, struct buffer *out);
	void *owner;
};

/* NULL when it cannot be served (told on stderr): also where an address that is not loopback has no token. */
struct page *page_open(const struct page_settings *settings);

/* A descriptor that is readable when there is something to do. */
int page_descriptor(const struct page *p);

/* The URL to look at. */
const char *page_url(const struct page *p);

void page_step(struct page *p);
void page_close(struct page *p);

#endif

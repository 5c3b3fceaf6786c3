/*
 * The dry run that finds where to insert: at the blank line that ends a head, and nowhere else (traps 29 and 30).
 *
 * The program's bytes are fed to a fork of the direction's scanner before they are sent. When the kernel took them all, which
 * is the rule, the fork becomes the real scanner; else that one is fed with what the kernel took. What follows the
 * message in the same buffer is left for the next round: its head may need an insertion of its own.
 */
#include "stream.h"

#include "counters.h"
#include "spare.h"

POOL(heads, sizeof(struct stream_heads), 2);

void stream_expect_field(void *filter, const char *name, size_t len)
{
	http1_expect_field(filter, name, len);
}

uint8_t stream_prepared;

__attribute__((cold)) void stream_prepare(void)
{
	uint8_t not_yet = STREAM_UNPREPARED;

	if (__atomic_load_n(&stream_prepared, __ATOMIC_RELAXED) != STREAM_UNPREPARED ||
	    !__atomic_compare_exchange_n(&stream_prepared, &not_yet, STREAM_PREPARING, 0, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_RELAXED))
		return;
	served_prepare();
	call_prepare();
	__atomic_store_n(&stream_prepared, STREAM_PREPARED, __ATOMIC_RELEASE);
}

LAYOUT_BUILT_IN struct stream_heads *stream_borrow_heads(void)
{
	return spare_borrow(SPARE_HEADS, &heads);
}

LAYOUT_BUILT_IN void stream_return_heads(struct stream_heads *borrowed)
{
	spare_return(SPARE_HEADS, &heads, borrowed);
}

struct stream_heads *stream_take_heads(void)
{
	struct stream_heads *taken = spare_take(SPARE_HEADS, &heads);

	if (taken == NULL)
		counters_count_seldom(no_memory_skipped);
	return taken;
}

void stream_give_heads(struct stream_heads *taken)
{
	if (taken != NULL)
		spare_give(SPARE_HEADS, &heads, taken);
}

size_t stream_total(const struct iovec *iov, int count)
{
	size_t total = 0;
	int i;

	for (i = 0; i < count; i++)
		total += iov[i].iov_len;
	return total;
}

bool stream_find_spot(struct stream_spot *spot, const struct http1_sink *sink, const struct iovec *iov, int count,
                      size_t offset)
{
	struct http1 *scanner = &spot->after;
	bool found = false, ended = false, sound = true, ended_head = false;
	size_t base = 0;
	int i;

	scanner->options |= HTTP1_STOP_AT_BLANK;
	spot->end = stream_total(iov, count);
	spot->done = false;
	for (i = 0; i < count && !ended; base += iov[i].iov_len, i++) {
		size_t at = offset > base ? offset - base : 0;

		while (at < iov[i].iov_len && !ended) {
			size_t used;
			const char *bytes = (const char *)iov[i].iov_base + at;
			size_t len = iov[i].iov_len - at;
			enum http1_status status =
				ended_head ? http1_feed_blank(scanner, sink, conn_line_buffer, bytes, len, &used) :
					     http1_feed(scanner, sink, conn_line_buffer, bytes, len, &used);

			ended_head = status == HTTP1_HEAD_END;
			at += used;
			if (status == HTTP1_HEAD)
				status = scanner->body == HTTP1_BODY_NONE ? HTTP1_DONE : HTTP1_MORE;
			if (status == HTTP1_HEAD_END && (scanner->kind == HTTP1_REQUEST || scanner->status >= 200)) {
				spot->at = base + at;
				found = true;
			} else if (status == HTTP1_DONE && scanner->interim) {
				char *line = scanner->line;

				http1_init(scanner, HTTP1_RESPONSE, scanner->options);
				scanner->line = line;
				sound = false; /* a span is told of it by the scanner itself */
			} else if (status == HTTP1_DONE) {
				spot->end = base + at;
				spot->done = ended = true;
			} else if (status == HTTP1_TUNNEL || status == HTTP1_ALIEN) {
				/* A head that is unsafe to read gets nothing; what follows a good head is no matter here. */
				found = found && status == HTTP1_TUNNEL;
				ended = true;
				sound = false;
			}
		}
	}
	/* A scanner in the midst of a split line has it in a buffer that is not the connection's. */
	spot->known = sound && scanner->line == NULL && scanner->inherited == NULL;
	scanner->options &= (uint8_t)~HTTP1_STOP_AT_BLANK;
	if (scanner->line != NULL)
		conn_line_buffer_free(scanner->line);
	scanner->line = NULL;
	return found;
}

enum mark { MARK_NONE, MARK_PLAIN, MARK_TELLING };

__attribute__((cold)) __attribute__((noinline)) bool stream_mark_response(struct http1_known *known)
{
	const struct http1 *after = &known->after;

	known->mark = MARK_TELLING;
	if (known->len == 0 || known->fields > 0 || known->options != 0 || after->kind != HTTP1_RESPONSE ||
	    after->interim || after->status == 101 ||
	    (after->body != HTTP1_BODY_LENGTH && (after->body != HTTP1_BODY_NONE || after->remaining > 0)))
		return false;
	known->mark = MARK_PLAIN;
	known->whole = (uint16_t)(known->len + 2);
	return true;
}

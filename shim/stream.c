/*
 * The dry run that finds where to insert: at the blank line that ends a head, and nowhere else (traps 29 and 30).
 *
 * The program's bytes are fed to a fork of the direction's scanner before they are sent; the real scanner is fed after the
 * write, with what the kernel took. A head is so read twice, bodies are skipped by count both times. What follows the
 * message in the same buffer is left for the next round: its head may need an insertion of its own.
 */
#include "stream.h"

static size_t iov_total(const struct iovec *iov, int count)
{
	size_t total = 0;
	int i;

	for (i = 0; i < count; i++)
		total += iov[i].iov_len;
	return total;
}

bool stream_find_spot(struct http1 *scanner, const struct http1_sink *sink, const struct iovec *iov, int count,
                      size_t offset, struct stream_spot *spot)
{
	bool found = false, ended = false;
	size_t base = 0;
	int i;

	scanner->options |= HTTP1_STOP_AT_BLANK;
	spot->end = iov_total(iov, count);
	for (i = 0; i < count && !ended; base += iov[i].iov_len, i++) {
		size_t at = offset > base ? offset - base : 0;

		while (at < iov[i].iov_len && !ended) {
			size_t used;
			enum http1_status status =
				http1_feed(scanner, sink, conn_line_buffer, (const char *)iov[i].iov_base + at,
			                   iov[i].iov_len - at, &used);

			at += used;
			if (status == HTTP1_HEAD)
				status = http1_feed(scanner, sink, conn_line_buffer, "", 0, &used);
			if (status == HTTP1_HEAD_END && (scanner->kind == HTTP1_REQUEST || scanner->status >= 200)) {
				spot->at = base + at;
				found = true;
			} else if (status == HTTP1_DONE && scanner->interim) {
				char *line = scanner->line;

				http1_init(scanner, HTTP1_RESPONSE, scanner->options);
				scanner->line = line;
			} else if (status == HTTP1_DONE) {
				spot->end = base + at;
				ended = true;
			} else if (status == HTTP1_TUNNEL || status == HTTP1_ALIEN) {
				/* A head that is unsafe to read gets nothing; what follows a good head is no matter here. */
				found = found && status == HTTP1_TUNNEL;
				ended = true;
			}
		}
	}
	if (scanner->line != NULL)
		conn_line_buffer_free(scanner->line);
	return found;
}

/*
 * Any bytes as one log line, in any format: the record is one line, valid JSON, within its bound, and tells the line again.
 * Byte 0 chooses format, mode and source; the line follows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "json.h"
#include "record.h"

static struct trace_context ctx;
static char field_value[] = "v\"\xff\x01";

static void configure(unsigned choice)
{
	static unsigned current = ~0u;

	if (choice == current)
		return;
	current = choice;
	config.log_format = (enum log_format)(choice % 5);
	config.log_mode = choice / 5 % 4 == 3 ? LOG_TEXT : LOG_JSON;
	config.datadog_decimal = choice / 20 % 2;
	config.service.text = "fuzz";
	config.service.len = 4;
	config.field[0].field.text = "userId";
	config.field[0].field.len = 6;
	config.field_count = 1;
	memset(ctx.trace_id, 0xab, sizeof(ctx.trace_id));
	memset(ctx.span_id, 0xcd, sizeof(ctx.span_id));
	ctx.text.data = field_value;
	ctx.field[0].len = ctx.text.len = sizeof(field_value) - 1;
	record_init();
}

/* The message of a record that was made from text, against the line. */
static void check_message(const char *record, const char *line, size_t len)
{
	const char *p = strstr(record, "\"message\":\"");
	size_t i = 0;

	CHECK(p);
	for (p += 11; *p != '"'; i++) {
		unsigned char byte = (unsigned char)*p++;

		if (byte == '\\' && *p == 'u') {
			byte = (unsigned char)strtoul((char[]){ p[3], p[4], 0 }, NULL, 16);
			CHECK(p[1] == '0' && p[2] == '0');
			p += 5;
		} else if (byte == '\\') {
			const char *which = strchr("bfnrt", *p);

			byte = (unsigned char)(which ? "\b\f\n\r\t"[which - "bfnrt"] : *p);
			p++;
		}
		CHECK(i < len && (unsigned char)line[i] == byte);
	}
	CHECK(i == len);
}

/* With what is remembered of the inputs before, and in no more room than it was told to need: the same record. */
static void check_remembering(struct record_source src, const char *line, size_t len, const char *record, size_t n)
{
	static struct record_memo memo;
	size_t room = record_bound(&src, len);
	char *out = malloc(room);
	unsigned how;

	src.memo = &memo;
	CHECK(room <= RECORD_BOUND(len));
	CHECK(record_format(&src, line, len, out, &how) == n && memcmp(out, record, n) == 0);
	if (memchr(line, '\n', len))
		CHECK(record_format_line(&src, line, len, out, &how) == 0);
	else
		CHECK(record_format_line(&src, line, len, out, &how) == n && memcmp(out, record, n) == 0);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_source src = { .pid = 1, .tid = -1, .time_ns = 1795370503123456789u };
	const char *line = (const char *)data + 1;
	unsigned how, again;
	size_t len, n;
	char *out, *twice;

	if (!size || size > 70000)
		return 0;
	len = size - 1;
	configure(data[0] % 40);
	src.ctx = data[0] & 0x40 ? &ctx : NULL;
	src.partial = data[0] & 0x80;
	src.stream = (enum record_stream)(data[0] % 3);
	out = malloc(RECORD_BOUND(len) + 1);
	n = record_format(&src, line, len, out, &how);
	CHECK(n >= 1 && n <= RECORD_BOUND(len) && out[n - 1] == '\n');
	out[n] = '\0';
	check_remembering(src, line, len, out, n);
	CHECK(record_is_object(line, len) == ((how & RECORD_SPLICED) != 0));
	CHECK(!src.ctx || (how & RECORD_HAS_ID) || config.log_mode == LOG_TEXT);
	if (config.log_mode == LOG_JSON || (how & RECORD_SPLICED))
		CHECK(record_is_object(out, n - 1));
	if (how & RECORD_SPLICED) {
		CHECK(n <= RECORD_OBJECT_BOUND(len) && n > len);
		/* What has ids needs none: formatting the record again changes nothing. */
		twice = malloc(RECORD_BOUND(n));
		CHECK(record_format(&src, out, n - 1, twice, &again) == n && memcmp(out, twice, n) == 0);
		free(twice);
	} else if (config.log_mode == LOG_JSON) {
		CHECK(memchr(line, '\n', len) || strchr(out, '\n') == out + n - 1);
		check_message(out, line, len && line[len - 1] == '\r' && !src.partial ? len - 1 : len);
	} else {
		CHECK(n >= len + 1 && memcmp(out, line, len && line[len - 1] == '\r' ? len - 1 : len) == 0);
	}
	free(out);
	return 0;
}

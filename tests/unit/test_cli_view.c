/*
 * `traceshim view` reads files of others, which may be made to keep it busy: work and memory must follow the file's length. Work is
 * counted in comparisons of ids, because time is the machine's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/otlp_file.h"
#include "../../cli/waterfall.h"

static unsigned long compared;

/* In front of libc's, for all that is linked here. */
int strcmp(const char *left, const char *right)
{
	compared++;
	while (*left && *left == *right) {
		left++;
		right++;
	}
	return (unsigned char)*left - (unsigned char)*right;
}

static struct otlp_item make_item(int kind, const char *span, const char *parent, uint64_t start_ns)
{
	struct otlp_item item = { .start_ns = start_ns,
		                  .end_ns = start_ns + 5,
		                  .kind = kind,
		                  .service = (char *)"s",
		                  .text = (char *)"t",
		                  .detail = (char *)"" };

	strcpy(item.trace, "0af7651916cd43dd8448eb211c80319c");
	strcpy(item.span, span);
	strcpy(item.parent, parent);
	return item;
}

/* Comparisons that it takes to draw `items`, each of which must come out once. */
static unsigned long draw(struct otlp_item *items, size_t count)
{
	struct waterfall_style style = { .width = 100 };
	char *text = NULL;
	size_t len = 0, lines = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	compared = 0;
	waterfall_draw(out, items, count, &style);
	fclose(out);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	free(text);
	assert_int_equal(lines, count + 1);
	return compared;
}

enum { MANY = 2000 };

/* As many spans of one id, and as much that hangs on it. */
static void spans_of_one_id_share_what_hangs_on_it(void **state)
{
	struct otlp_item *items = calloc(2 * MANY, sizeof(*items));
	const char *one = "00000000000000a1";

	(void)state;
	assert_non_null(items);
	for (size_t i = 0; i < MANY; i++) {
		items[i] = make_item(2, one, "", 1000 + i);
		items[MANY + i] = make_item(0, one, "", 1000 + i);
	}
	assert_in_range(draw(items, 2 * MANY), 0, 100 * MANY);
	for (size_t i = 0; i < MANY; i++)
		items[MANY + i] = make_item(2, "00000000000000b2", one, 1000 + i);
	assert_in_range(draw(items, 2 * MANY), 0, 100 * MANY);
	/* each its own parent */
	for (size_t i = 0; i < 2 * MANY; i++)
		items[i] = make_item(2, one, one, 1000 + i);
	assert_in_range(draw(items, 2 * MANY), 0, 200 * MANY);
	/* two that call each other, each many times over */
	for (size_t i = 0; i < 2 * MANY; i++)
		items[i] = make_item(2, i % 2 ? one : "00000000000000b2", i % 2 ? "00000000000000b2" : one, 1000 + i);
	assert_in_range(draw(items, 2 * MANY), 0, 200 * MANY);
	free(items);
}

static void weigh(void *owner, const struct otlp_item *item)
{
	size_t *bytes = owner;

	*bytes += strlen(item->service);
}

/* Each item has a copy of its service's name, which stands in the file once for all of them. */
static void a_long_name_of_a_service_is_not_copied_for_each_line(void **state)
{
	enum { NAME = 100000, LINES = 1000 };
	char *text = NULL;
	size_t len = 0, bytes = 0;
	FILE *file = open_memstream(&text, &len);

	(void)state;
	assert_non_null(file);
	fputs("{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"",
	      file);
	for (size_t i = 0; i < NAME; i++)
		fputc('n', file);
	fputs("\"}}]},\"scopeLogs\":[{\"logRecords\":[{}", file);
	for (size_t i = 1; i < LINES; i++)
		fputs(",{}", file);
	fputs("]}]}]}", file);
	fclose(file);
	assert_true(otlp_file_read_line(text, len, weigh, &bytes));
	assert_in_range(bytes, LINES, len * 3);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_of_one_id_share_what_hangs_on_it),
		cmocka_unit_test(a_long_name_of_a_service_is_not_copied_for_each_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

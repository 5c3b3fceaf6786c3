/*
 * Spans are drawn as a tree by parent, each level in order of start; a span whose parent is not there (of a service that is not
 * traced, or not in the file) stands at the margin. Its lines stand below it, before the children that begin later. A trace may
 * be wrong on purpose: a parent may be its own child, so each item is drawn once, and what was not reached in the end is drawn
 * at the margin too. Depth is bounded, time is that of the earliest start. What hangs on a span is found by search in sorted lists of
 * all: a trace of a batch job may have a hundred thousand. It is gone through once, however many spans say that they have that id.
 */
#include "waterfall.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

enum { DEPTH_MAX = 40, WIDTH_MIN = 50 };

struct drawing {
	FILE *out;
	const struct otlp_item *items;
	size_t count;
	bool *drawn;
	size_t *below; /* all items, by what they hang on (a span's parent, a line's span), and for each in order of start */
	size_t *passed; /* at the first in `below` of what hangs on one id: how many of these were gone through */
	size_t *spans;  /* all spans, by their own id */
	size_t span_count;
	uint64_t start_ns, length_ns;
	const struct waterfall_style *style;
};

static const char *color(const struct waterfall_style *style, const char *code)
{
	return style->color ? code : "";
}

#define RED "\033[31m"
#define DIM "\033[2m"
#define BOLD "\033[1m"
#define BLUE "\033[36m"
#define PLAIN "\033[0m"

static void format_time(char text[24], uint64_t ns)
{
	if (ns < 1000000)
		snprintf(text, 24, "%.0f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text, 24, ns < 100000000 ? "%.1f ms" : "%.0f ms", (double)ns / 1e6);
	else
		snprintf(text, 24, "%.2f s", (double)ns / 1e9);
}

/* Others' text, safe to show, in exactly `columns` columns (of characters; wide ones are taken for one), or as it is when 0. */
static void put_cell(FILE *out, const char *text, unsigned columns)
{
	char clean[4096];
	unsigned used = 0;
	const char *at = clean;

	text_clean(clean, sizeof(clean), text, strlen(text));
	while (*at && (!columns || used < columns)) {
		const char *next = at + 1;

		while ((*next & 0xc0) == 0x80)
			next++;
		if (columns && used + 1 == columns && *next)
			fputs("~", out);
		else
			fwrite(at, 1, (size_t)(next - at), out);
		at = next;
		used++;
	}
	for (; used < columns; used++)
		fputc(' ', out);
}

static void draw_bar(const struct drawing *d, const struct otlp_item *item, unsigned columns)
{
	uint64_t length = d->length_ns ? d->length_ns : 1;
	unsigned from = (unsigned)((double)(item->start_ns - d->start_ns) / (double)length * columns);
	unsigned to = (unsigned)((double)(item->end_ns - d->start_ns) / (double)length * columns + 0.5);

	from = from < columns ? from : columns - 1;
	to = to > from ? to : from + 1;
	fputc('|', d->out);
	for (unsigned i = 0; i < columns; i++) {
		if (i == from)
			fputs(color(d->style, item->error ? RED : BLUE), d->out);
		if (i == to)
			fputs(color(d->style, PLAIN), d->out);
		fputc(i < from || i >= to ? ' ' : item->kind == 3 ? '-' : '=', d->out);
	}
	fputs(to >= columns ? color(d->style, PLAIN) : "", d->out);
	fputc('|', d->out);
}

static void draw_span(const struct drawing *d, const struct otlp_item *item, unsigned depth)
{
	unsigned left = d->style->width * 55 / 100, bar = d->style->width - left - 12;
	char name[600], time[24], status[16] = "";
	unsigned indent = 2 * depth < left / 2 ? 2 * depth : left / 2;

	if (item->status)
		snprintf(status, sizeof(status), " %u", item->status);
	format_time(time, item->end_ns - item->start_ns);
	snprintf(name, sizeof(name), "%s%.60s: %.200s%s%s%s%.300s", item->kind == 3 ? "> " : "", item->service,
	         item->text, status, item->error ? " ERROR" : "", *item->detail ? " " : "", item->detail);
	fprintf(d->out, "%*s%s", (int)indent, "", color(d->style, item->error ? RED : ""));
	put_cell(d->out, name, left - indent);
	fprintf(d->out, "%s%9s ", color(d->style, item->error ? PLAIN : ""), time);
	draw_bar(d, item, bar);
	fputc('\n', d->out);
}

static void draw_line(const struct drawing *d, const struct otlp_item *item, unsigned depth)
{
	bool bad = strcmp(item->severity, "ERROR") == 0 || strcmp(item->severity, "FATAL") == 0;
	unsigned indent = 2 * depth < d->style->width / 4 ? 2 * depth : d->style->width / 4;
	char time[24];

	/* Before the first span: its clock is another one's. */
	format_time(time, item->start_ns > d->start_ns ? item->start_ns - d->start_ns : 0);
	fprintf(d->out, "%s%*s  +%s%s%s%s ", color(d->style, bad ? RED : DIM), (int)indent, "", time,
	        *item->severity ? " " : "", item->severity, *item->severity ? ":" : "");
	put_cell(d->out, item->text, 0);
	fprintf(d->out, "%s\n", color(d->style, PLAIN));
}

static int compare_start(const void *left, const void *right)
{
	const struct otlp_item *a = left, *b = right;

	if (a->start_ns != b->start_ns)
		return a->start_ns < b->start_ns ? -1 : 1;
	return (a->kind == 0) - (b->kind == 0);
}

/* What an item hangs on. */
static const char *hangs_on(const struct otlp_item *item)
{
	return item->kind == 0 ? item->span : item->parent;
}

static const char *own_id(const struct otlp_item *item)
{
	return item->span;
}

static int compare_below(const void *left, const void *right, void *items)
{
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	int order =
		strcmp(hangs_on((const struct otlp_item *)items + a), hangs_on((const struct otlp_item *)items + b));

	return order ? order : a < b ? -1 : a > b;
}

static int compare_ids(const void *left, const void *right, void *items)
{
	size_t a = *(const size_t *)left, b = *(const size_t *)right;

	return strcmp(own_id((const struct otlp_item *)items + a), own_id((const struct otlp_item *)items + b));
}

/* The first place in `list`, sorted by `key`, where that is not less than `id`. */
static size_t first_not_less(const struct drawing *d, const size_t *list, size_t count,
                             const char *(*key)(const struct otlp_item *item), const char *id)
{
	size_t from = 0;

	while (count) {
		size_t half = count / 2;

		if (strcmp(key(&d->items[list[from + half]]), id) < 0) {
			from += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return from;
}

/* False without memory. */
static bool sort_items(struct drawing *d)
{
	d->drawn = calloc(d->count, sizeof(*d->drawn));
	d->below = calloc(d->count, sizeof(*d->below));
	d->passed = calloc(d->count, sizeof(*d->passed));
	d->spans = calloc(d->count, sizeof(*d->spans));
	if (!d->drawn || !d->below || !d->passed || !d->spans)
		return false;
	for (size_t i = 0; i < d->count; i++) {
		d->below[i] = i;
		if (d->items[i].kind != 0)
			d->spans[d->span_count++] = i;
	}
	qsort_r(d->below, d->count, sizeof(*d->below), compare_below, (void *)d->items);
	qsort_r(d->spans, d->span_count, sizeof(*d->spans), compare_ids, (void *)d->items);
	return true;
}

static void free_items(struct drawing *d)
{
	free(d->drawn);
	free(d->below);
	free(d->passed);
	free(d->spans);
}

static void draw_tree(struct drawing *d, size_t at, unsigned depth)
{
	const struct otlp_item *parent = &d->items[at];
	size_t first;

	d->drawn[at] = true;
	draw_span(d, parent, depth);
	if (depth >= DEPTH_MAX || !*parent->span)
		return;
	first = first_not_less(d, d->below, d->count, hangs_on, parent->span);
	/* A span of the same id may be among them, and then goes on with the rest. */
	while (first < d->count && first + d->passed[first] < d->count) {
		size_t i = d->below[first + d->passed[first]];

		if (strcmp(hangs_on(&d->items[i]), parent->span) != 0)
			break;
		d->passed[first]++;
		if (d->drawn[i])
			continue;
		if (d->items[i].kind == 0) {
			d->drawn[i] = true;
			draw_line(d, &d->items[i], depth);
		} else {
			draw_tree(d, i, depth + 1);
		}
	}
}

static bool has_parent(const struct drawing *d, const struct otlp_item *item)
{
	size_t n = first_not_less(d, d->spans, d->span_count, own_id, item->parent);

	return *item->parent && n < d->span_count && strcmp(d->items[d->spans[n]].span, item->parent) == 0;
}

static void draw_rest(struct drawing *d)
{
	for (size_t i = 0; i < d->count; i++)
		if (!d->drawn[i] && d->items[i].kind != 0 && !has_parent(d, &d->items[i]))
			draw_tree(d, i, 0);
	for (size_t i = 0; i < d->count; i++) {
		if (d->drawn[i])
			continue;
		if (d->items[i].kind != 0)
			draw_tree(d, i, 0);
		else
			draw_line(d, &d->items[i], 0);
		d->drawn[i] = true;
	}
}

void waterfall_draw(FILE *out, struct otlp_item *items, size_t count, const struct waterfall_style *style)
{
	struct waterfall_style used = *style;
	struct drawing d = { .out = out, .items = items, .count = count, .style = &used };
	unsigned spans = 0, errors = 0;
	uint64_t end = 0;
	char time[24];

	if (!count)
		return;
	used.width = used.width > WIDTH_MIN ? used.width : WIDTH_MIN;
	qsort(items, count, sizeof(*items), compare_start);
	d.start_ns = UINT64_MAX;
	for (size_t i = 0; i < count; i++) {
		if (items[i].kind == 0)
			continue;
		spans++;
		errors += items[i].error;
		d.start_ns = items[i].start_ns < d.start_ns ? items[i].start_ns : d.start_ns;
		end = items[i].end_ns > end ? items[i].end_ns : end;
	}
	if (!spans)
		d.start_ns = end = items[0].start_ns;
	d.length_ns = end - d.start_ns;
	if (!sort_items(&d)) {
		free_items(&d);
		return;
	}
	format_time(time, d.length_ns);
	fprintf(out, "%strace %s%s  %u span%s, %zu line%s, %s", color(style, BOLD), items[0].trace, color(style, PLAIN),
	        spans, spans == 1 ? "" : "s", count - spans, count - spans == 1 ? "" : "s", time);
	if (errors)
		fprintf(out, ", %s%u error%s%s", color(style, RED), errors, errors == 1 ? "" : "s",
		        color(style, PLAIN));
	fputc('\n', out);
	draw_rest(&d);
	free_items(&d);
}

void waterfall_print_item(FILE *out, const struct otlp_item *item, const struct waterfall_style *style)
{
	time_t seconds = (time_t)(item->start_ns / 1000000000);
	char clock[16] = "", time[24], head[64];
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(out, "%s.%03u %.8s ", clock, (unsigned)(item->start_ns / 1000000 % 1000),
	        *item->trace ? item->trace : "-       ");
	put_cell(out, item->service, 16);
	if (item->kind == 0) {
		fprintf(out, " %s%s%s", color(style, DIM), item->severity, *item->severity ? ": " : "");
	} else {
		format_time(time, item->end_ns - item->start_ns);
		snprintf(head, sizeof(head), "%9s %3u ", time, item->status);
		fprintf(out, " %s%s%s", color(style, item->error ? RED : ""), head, item->kind == 3 ? "> " : "");
	}
	put_cell(out, item->text, 0);
	if (*item->detail) {
		fputc(' ', out);
		put_cell(out, item->detail, 0);
	}
	fprintf(out, "%s\n", color(style, item->kind == 0 || item->error ? PLAIN : ""));
}

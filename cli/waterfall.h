/*
 * A trace in a terminal: who called whom, when and how long, and what was logged meanwhile.
 */
#ifndef TRACESHIM_CLI_WATERFALL_H
#define TRACESHIM_CLI_WATERFALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "otlp_file.h"

struct waterfall_style {
	unsigned width; /* columns */
	bool color;
};

/* Draw the items of one trace, which are put in order meanwhile. */
void waterfall_draw(FILE *out, struct otlp_item *items, size_t count, const struct waterfall_style *style);

/* One item in one line, as it comes. */
void waterfall_print_item(FILE *out, const struct otlp_item *item, const struct waterfall_style *style);

#endif

/*
 * The configuration file: lines of KEY=VALUE, blank lines, '#' comments, one pair of quotes around a value. Of a key
 * that is there twice the first counts.
 *
 * Mechanism: the file is read whole into fresh pages and cut into pieces in place; the pages go back when config_load
 * is through. It is opened without waiting (O_NONBLOCK: a FIFO without a writer must not hang the program) and nothing
 * in it is executed or expanded: it is not a shell script. Only config_load calls this. Memory: FILE_MAX bytes, for
 * that long.
 */
#include "config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "counters.h"
#include "layout.h"
#include "os.h"

#define FILE_MAX 65536

static char *pages;

/* The environment's TRACESHIM_LOG=ecs is a TRACESHIM_FORMAT too, and must win over the file's. */
static bool environment_names_format;

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct config_piece trim(struct config_piece piece)
{
	while (piece.len > 0 && is_blank(piece.text[0])) {
		piece.text++;
		piece.len--;
	}
	while (piece.len > 0 && is_blank(piece.text[piece.len - 1]))
		piece.len--;
	return piece;
}

static struct config_piece unquote(struct config_piece piece)
{
	if (piece.len >= 2 && (piece.text[0] == '"' || piece.text[0] == '\'') &&
	    piece.text[piece.len - 1] == piece.text[0]) {
		piece.text++;
		piece.len -= 2;
	}
	return piece;
}

static void wrong_line(unsigned number)
{
	counters_count(config_invalid);
	counters_note("TRACESHIM_CONFIG: line %u is ignored: must be KEY=VALUE", number);
}

static void take_value(enum config_key key, struct config_piece text, struct config_piece value[CONFIG_KEY_COUNT])
{
	if (key == CONFIG_KEY_config) {
		config_reject(key, text, "a configuration file cannot name another one");
		return;
	}
	if (key == CONFIG_KEY_format && environment_names_format)
		return;
	if (value[key].len == 0)
		value[key] = text;
}

static void take_line(struct config_piece line, unsigned number, struct config_piece value[CONFIG_KEY_COUNT])
{
	struct config_piece name;
	const char *equals;
	enum config_key key;

	line = trim(line);
	if (line.len == 0 || line.text[0] == '#')
		return;
	equals = memchr(line.text, '=', line.len);
	if (equals == NULL || equals == line.text || memchr(line.text, '\0', line.len) != NULL) {
		wrong_line(number);
		return;
	}
	name = trim((struct config_piece){ line.text, (size_t)(equals - line.text) });
	key = config_find_key(name.text, name.len);
	if (key < CONFIG_KEY_COUNT)
		take_value(key,
		           unquote(trim(
				   (struct config_piece){ equals + 1, line.len - (size_t)(equals + 1 - line.text) })),
		           value);
	else if (name.len < 5 || memcmp(name.text, "OTEL_", 5) != 0) /* those are for the exporter */
		config_reject_key(name.text, name.len);
}

/* Returns the bytes read, or -1. */
static ssize_t read_whole(const char *path)
{
	int fd = os.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -1;
	do {
		n = os.read(fd, pages + len, FILE_MAX + 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len <= FILE_MAX) || (n < 0 && errno == EINTR));
	os.close(fd);
	return n < 0 ? -1 : (ssize_t)len;
}

void config_read_file(struct config_piece path, struct config_piece value[CONFIG_KEY_COUNT])
{
	struct config_piece rest;
	unsigned number = 0;
	ssize_t len;

	environment_names_format = config_is_format(value[CONFIG_KEY_log]);
	pages = os_pages(FILE_MAX + 1);
	if (pages == NULL) {
		counters_count(no_memory_skipped);
		return;
	}
	len = read_whole(path.text);
	if (len < 0) {
		config_reject(CONFIG_KEY_config, path, "the file cannot be read");
		return;
	}
	if (len > FILE_MAX) {
		config_reject(CONFIG_KEY_config, path, "the file has more than 65536 bytes");
		return;
	}
	rest = (struct config_piece){ pages, (size_t)len };
	if (len >= 3 && memcmp(pages, "\xef\xbb\xbf", 3) == 0)
		rest = (struct config_piece){ pages + 3, (size_t)len - 3 };
	while (rest.len > 0) {
		const char *end = memchr(rest.text, '\n', rest.len);
		size_t line = end != NULL ? (size_t)(end - rest.text) : rest.len;
		size_t taken = end != NULL ? line + 1 : line;

		take_line((struct config_piece){ rest.text, line }, ++number, value);
		rest.text += taken;
		rest.len -= taken;
	}
}

LAYOUT_START void config_release_file(void)
{
	if (pages != NULL)
		(void)os_unmap(pages, FILE_MAX + 1);
	pages = NULL;
}

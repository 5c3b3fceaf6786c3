/*
 * Any environment, any configuration file.
 *
 * Input: lines; those before an empty line are the environment, the rest is the file that TRACESHIM_CONFIG names.
 * Properties: whatever is wrong, the result is a configuration: every text is terminated and in its own storage, counts
 * are within their limits, names fit for what they are used for; the notes are printable lines. Patterns from the input
 * are matched against other parts of it, and short ones compared with a naive matcher.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_internal.h"
#include "counters.h"
#include "fuzz.h"
#include "os.h"
#include "propagate.h"

static const char *file_text;
static size_t file_len, file_at;

static int fake_open(const char *path, int flags, ...)
{
	CHECK(strlen(path) > 0 && (flags & O_NONBLOCK));
	file_at = 0;
	return 1000;
}

static ssize_t fake_read(int fd, void *buf, size_t len)
{
	size_t n = file_len - file_at < len ? file_len - file_at : len;

	CHECK(fd == 1000);
	if (n > 13)
		n = 13; /* short reads */
	memcpy(buf, file_text + file_at, n);
	file_at += n;
	return (ssize_t)n;
}

static int fake_close(int fd)
{
	CHECK(fd == 1000);
	return 0;
}

static void check_name(struct config_name name)
{
	CHECK(name.text != NULL && strlen(name.text) == name.len);
}

static void check_header(struct config_name name)
{
	check_name(name);
	CHECK(name.len >= 1 && name.len <= LIMIT_HEADER_NAME);
	for (size_t i = 0; i < name.len; i++)
		CHECK(name.text[i] > ' ' && name.text[i] < 0x7f &&
		      strchr(":,=\"\\ABCDEFGHIJKLMNOPQRSTUVWXYZ", name.text[i]) == NULL);
	CHECK(config.header_lengths >> (name.len - 1) & 1);
	CHECK(propagate_wants(name.text, name.len));
}

static void check_configuration(void)
{
	uint32_t order = 0;

	CHECK(!config.excluded || !config.enabled);
	CHECK(config.log_mode <= LOG_OFF && config.log_format <= FORMAT_GCP && config.loop_trust <= LOOP_OFF);
	CHECK(config.correlation_count <= LIMIT_CORRELATION_HEADERS && config.field_count <= LIMIT_LOG_FIELDS);
	for (size_t i = 0; i < config.correlation_count; i++) {
		check_header(config.correlation[i]);
		CHECK(strcmp(config.correlation[i].text, "content-length") != 0);
		CHECK(propagate_own_header(config.correlation[i].text, config.correlation[i].len) ==
		      PROPAGATE_HAS_CORRELATION(i));
	}
	for (size_t i = 0; i < config.field_count; i++) {
		if (!config.field[i].from_baggage)
			check_header(config.field[i].source);
		check_name(config.field[i].source);
		check_name(config.field[i].field);
		CHECK(config.field[i].field.len > 0 && strpbrk(config.field[i].field.text, "\"\\\n\r\x1b") == NULL);
		CHECK(strcmp(config.field[i].field.text, "trace_id") != 0);
	}
	for (size_t i = 0; i < sizeof(config.propagator_order); i++) {
		CHECK(!(order & config.propagator_order[i]));
		order |= config.propagator_order[i];
	}
	CHECK(order == config.propagators && order <= 0x1f);
	check_name(config.response_header);
	check_name(config.service);
	check_name(config.environment);
	check_name(config.version);
	check_name(config.run_dir);
	check_name(config.log_files);
	check_name(config.propagate_hosts);
	check_name(config.stdio_files);
	check_name(config.traceparent);
	check_name(config.tracestate);
	check_name(config.baggage);
	CHECK(config.service.len > 0 && config.run_dir.text[0] == '/');
	CHECK(counters_page()->notes_len <= sizeof(counters_page()->notes));
	for (size_t i = 0; i < counters_page()->notes_len; i++)
		CHECK((counters_page()->notes[i] >= ' ' && counters_page()->notes[i] < 0x7f) ||
		      counters_page()->notes[i] == '\n');
	if (counters_get(config_invalid) + counters_get(config_unknown) == 0)
		CHECK(counters_page()->notes_len == 0);
	else
		CHECK(counters_page()->notes_len > 0);
}

/* Stars, question marks and literals only: written down as the definition says it, exponential. */
static bool naive_glob(const char *p, size_t p_len, const char *t, size_t t_len)
{
	if (p_len == 0)
		return t_len == 0;
	if (p[0] == '*') {
		bool wide = p_len > 1 && p[1] == '*';
		size_t stars = 1;

		while (wide && stars < p_len && p[stars] == '*')
			stars++;
		for (size_t i = 0; i <= t_len; i++) {
			if (naive_glob(p + stars, p_len - stars, t + i, t_len - i))
				return true;
			if (i < t_len && t[i] == '/' && !wide)
				return false;
		}
		return false;
	}
	if (t_len == 0 || (p[0] == '?' ? t[0] == '/' : p[0] != t[0]))
		return false;
	return naive_glob(p + 1, p_len - 1, t + 1, t_len - 1);
}

static void check_glob(struct config_piece pattern, struct config_piece text)
{
	bool matched = config_glob(pattern, text);

	if (pattern.len <= 10 && text.len <= 14 && memchr(pattern.text, '[', pattern.len) == NULL &&
	    memchr(pattern.text, '\\', pattern.len) == NULL)
		CHECK(matched == naive_glob(pattern.text, pattern.len, text.text, text.len));
}

#define LINES 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2), *environment[LINES + 1], *at = text, *end;
	size_t count = 0;

	os.open = fake_open;
	os.read = fake_read;
	os.close = fake_close;
	memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	end = text + size;
	while (at < end && count < LINES && *at != '\n') {
		environment[count++] = at;
		at += strcspn(at, "\n");
		*at++ = '\0';
	}
	environment[count] = NULL;
	file_text = at < end ? at : end;
	file_len = (size_t)(end - file_text);
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	counters_page()->notes_len = 0;
	config_load(environment, count > 0 ? environment[0] : "program");
	check_configuration();
	for (size_t i = 0; i < count; i++) {
		struct config_piece one = { environment[i], strlen(environment[i]) };
		struct config_piece next = { environment[(i + 1) % count], strlen(environment[(i + 1) % count]) };

		(void)config_host_allowed(one.text, one.len);
		(void)config_is_log_file(one.text);
		if (one.len <= 256)
			check_glob(one, next);
	}
	free(text);
	return 0;
}

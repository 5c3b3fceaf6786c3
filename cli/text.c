/*
 * What traceshim prints comes from files and processes that others control: program names, ELF strings, status pages in
 * a folder that everybody may write to. So no foreign byte reaches the terminal or a JSON document but through
 * text_clean, which leaves printable UTF-8 only. Not for signal handlers; no memory but the caller's.
 */
#include "text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "utf8.h"

/* Length of the printable UTF-8 character at `s` (1 to 4), or 0 when it must be escaped. */
static size_t text_character(const unsigned char *s, size_t len)
{
	uint32_t code;
	size_t n;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f && s[0] != '\\';
	n = utf8_character((const char *)s, len, &code);
	return n && code >= 0xa0 ? n : 0;
}

/* Clean one character of `in` into `out` (at least 5 bytes); returns bytes taken, sets bytes made. */
static size_t text_clean_one(char *out, const unsigned char *in, size_t len, size_t *made)
{
	size_t n = text_character(in, len);

	if (n) {
		memcpy(out, in, n);
		*made = n;
		return n;
	}
	if (in[0] == '\\')
		*made = (size_t)sprintf(out, "\\\\");
	else
		*made = (size_t)sprintf(out, "\\x%02x", in[0]);
	return 1;
}

char *text_clean(char *out, size_t size, const char *in, size_t in_len)
{
	const unsigned char *s = (const unsigned char *)in;
	size_t len = strnlen(in, in_len), at = 0, used = 0, made;
	char one[8];

	while (at < len) {
		at += text_clean_one(one, s + at, len - at, &made);
		if (made >= size - used)
			break;
		memcpy(out + used, one, made);
		used += made;
	}
	out[used] = '\0';
	return out;
}

void text_put(FILE *out, const char *in)
{
	const unsigned char *s = (const unsigned char *)in;
	size_t len = strlen(in), at = 0, made;
	char one[8];

	while (at < len) {
		at += text_clean_one(one, s + at, len - at, &made);
		fwrite(one, 1, made, out);
	}
}

void text_error(const char *format, ...)
{
	char message[8192];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	fputs("traceshim: ", stderr);
	text_put(stderr, message);
	fputc('\n', stderr);
}

void text_add_json(struct cJSON *object, const char *name, const char *in)
{
	char clean[4096];

	text_clean(clean, sizeof(clean), in, strlen(in));
	if (name)
		cJSON_AddStringToObject(object, name, clean);
	else
		cJSON_AddItemToArray(object, cJSON_CreateString(clean));
}

void text_add_json_count(struct cJSON *object, const char *name, uint64_t count)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, count);
	cJSON_AddRawToObject(object, name, digits);
}

bool text_print_json(struct cJSON *tree)
{
	char *text = cJSON_Print(tree);
	bool ok = text && puts(text) >= 0;

	cJSON_free(text);
	cJSON_Delete(tree);
	return ok;
}

void text_usage_error(const char *command, int answer, char **argv)
{
	const char *option = argv[optind - 1];
	char letter[3] = { '-', (char)optopt, '\0' };

	/* getopt tells a wrong short option by its letter only; optopt of a long one is 0 or its value. */
	if (optopt > 0 && optopt < 256 && strncmp(option, "--", 2) != 0)
		option = letter;
	text_error("%s: %s '%s'; see `traceshim %s --help`", command,
	           answer == ':' ? "an argument is missing after" : "unknown option, or one that takes no argument:",
	           option, command);
}

int32_t text_to_pid(const char *s)
{
	size_t len = strlen(s);
	long value;

	if (!len || len > 9 || strspn(s, "0123456789") != len)
		return 0;
	value = strtol(s, NULL, 10);
	return (int32_t)value;
}

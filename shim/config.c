/*
 * The configuration's storage, and the way from an environment into it.
 *
 * Mechanism: one pass over the environment notes, per key of the table in config_keys.h, where its value lies; nearly
 * all variables are turned away by their first bytes. The file named by TRACESHIM_CONFIG fills what the environment
 * left open. Then the values are put into effect in the table's order, each copied into an arena, because programs wipe
 * and rewrite their environment (nginx, redis, php-fpm). Whatever is wrong is left out, counted and noted: no value of
 * the configuration can stop the program.
 *
 * Who may call: config_load once, in the constructor, on the only thread. Afterwards `config` is constant and anybody
 * may read it, signal handlers included. Before config_load it is all zero: not enabled.
 *
 * Memory: the arena is CONFIG_STORAGE bytes of .bss, of which only the pages used are ever touched (an ordinary
 * environment needs a few hundred bytes); 16 KiB hold the longest BAGGAGE (8 KiB) and much else. A value that finds it
 * full is left out and noted.
 */
#include "config.h"

#include <string.h>

#include "config_internal.h"
#include "counters.h"
#include "layout.h"

#define CONFIG_STORAGE 16384
#define RING_SIZE_DEFAULT (1024u * 1024)
#define CONFIG_KEPT 4096 /* for config_keep, whatever the values take */
#define NOTED_VALUE 40   /* bytes of a wrong value that a note shows */
#define KEY_LEN_MAX 48

struct config config;

static char storage[CONFIG_STORAGE + CONFIG_KEPT] LAYOUT_STORE;
static size_t storage_used;

/* Text, not pointers to it: each of those is a relocation in every process. */
static const struct {
	uint8_t len;
	char text[39];
} keys[CONFIG_KEY_COUNT] = {
#define X(name, key, standard, text) { sizeof(key) - 1, key },
	CONFIG_KEYS(X)
#undef X
};

LAYOUT_START enum config_key config_find_key(const char *name, size_t len)
{
	enum config_key key;

	for (key = 0; key < CONFIG_KEY_COUNT; key++)
		if (keys[key].len == len && memcmp(keys[key].text, name, len) == 0)
			break;
	return key;
}

const char *config_key_text(enum config_key key)
{
	return keys[key].text;
}

LAYOUT_START char *config_keep(const char *text, size_t len)
{
	char *kept = storage + storage_used;

	if (len > sizeof(storage) - storage_used)
		return NULL;
	storage_used += len;
	return memcpy(kept, text, len);
}

LAYOUT_START struct config_name config_store(struct config_piece piece)
{
	struct config_name name = { "", 0 };

	if (piece.len == 0)
		return name;
	if (storage_used > CONFIG_STORAGE || piece.len >= CONFIG_STORAGE - storage_used) {
		counters_count(config_invalid);
		counters_note("the configuration is too long: a value of %u bytes is left out", (unsigned)piece.len);
		return name;
	}
	memcpy(storage + storage_used, piece.text, piece.len);
	storage[storage_used + piece.len] = '\0';
	name.text = storage + storage_used;
	name.len = (uint16_t)piece.len;
	storage_used += piece.len + 1;
	return name;
}

char config_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool config_equals(struct config_piece piece, const char *word)
{
	size_t i;

	for (i = 0; i < piece.len && word[i] != '\0'; i++)
		if (config_lower(piece.text[i]) != config_lower(word[i]))
			return false;
	return i == piece.len && word[i] == '\0';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

LAYOUT_START bool config_next_item(struct config_piece *rest, char separator, struct config_piece *item)
{
	while (rest->len > 0) {
		const char *found = memchr(rest->text, separator, rest->len);
		size_t len = found != NULL ? (size_t)(found - rest->text) : rest->len;
		size_t taken = found != NULL ? len + 1 : len;

		*item = (struct config_piece){ rest->text, len };
		rest->text += taken;
		rest->len -= taken;
		while (item->len > 0 && is_space(item->text[0])) {
			item->text++;
			item->len--;
		}
		while (item->len > 0 && is_space(item->text[item->len - 1]))
			item->len--;
		if (item->len > 0)
			return true;
	}
	return false;
}

/* At most NOTED_VALUE bytes of a text that nobody has checked, fit to be shown on one line. Returns `out`. */
static const char *presentable(struct config_piece piece, char out[NOTED_VALUE + 4])
{
	size_t len = piece.len < NOTED_VALUE ? piece.len : NOTED_VALUE;

	for (size_t i = 0; i < len; i++)
		out[i] = piece.text[i] >= ' ' && piece.text[i] < 0x7f ? piece.text[i] : '?';
	memcpy(out + len, "...", 4);
	if (piece.len <= NOTED_VALUE)
		out[len] = '\0';
	return out;
}

void config_reject(enum config_key key, struct config_piece value, const char *allowed)
{
	char shown[NOTED_VALUE + 4];

	counters_count(config_invalid);
	counters_note("%s: \"%s\" is ignored: %s", keys[key].text, presentable(value, shown), allowed);
}

/* Changes of one character (insert, delete, replace) that lead from a to b; both at most KEY_LEN_MAX long. */
static unsigned edit_distance(struct config_piece a, struct config_piece b)
{
	uint8_t row[KEY_LEN_MAX + 1];

	for (size_t j = 0; j <= b.len; j++)
		row[j] = (uint8_t)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned best = diagonal + (a.text[i - 1] != b.text[j - 1]);

			diagonal = row[j];
			if (row[j] + 1u < best)
				best = row[j] + 1u;
			if (row[j - 1] + 1u < best)
				best = row[j - 1] + 1u;
			row[j] = (uint8_t)best;
		}
	}
	return row[b.len];
}

void config_reject_key(const char *name, size_t len)
{
	struct config_piece wrong = { name, len };
	enum config_key nearest = CONFIG_KEY_COUNT;
	char shown[NOTED_VALUE + 4];
	unsigned least = 3;

	for (enum config_key key = 0; len <= KEY_LEN_MAX && key < CONFIG_KEY_COUNT; key++) {
		unsigned distance = edit_distance(wrong, (struct config_piece){ keys[key].text, keys[key].len });

		if (distance < least) {
			least = distance;
			nearest = key;
		}
	}
	counters_count(config_unknown);
	if (nearest < CONFIG_KEY_COUNT)
		counters_note("%s is not known: did you mean %s?", presentable(wrong, shown), keys[nearest].text);
	else
		counters_note("%s is not known", presentable(wrong, shown));
}

/* Cheap first: programs have dozens of variables, and almost none of them is ours. */
LAYOUT_START static bool may_be_key(const char *entry)
{
	switch (entry[0]) {
	case 'T': return entry[1] == 'R' && entry[2] == 'A' && entry[3] == 'C' && entry[4] == 'E';
	case 'O': return entry[1] == 'T' && entry[2] == 'E' && entry[3] == 'L' && entry[4] == '_';
	case 'B': return entry[1] == 'A' && entry[2] == 'G' && entry[3] == 'G' && entry[4] == 'A';
	default: return false;
	}
}

LAYOUT_START static void read_environment(char *const envp[], struct config_piece value[CONFIG_KEY_COUNT])
{
	for (; envp != NULL && *envp != NULL; envp++) {
		const char *entry = *envp, *equals;
		enum config_key key;
		size_t len;

		if (!may_be_key(entry) || (equals = strchr(entry, '=')) == NULL)
			continue;
		len = (size_t)(equals - entry);
		key = config_find_key(entry, len);
		if (key < CONFIG_KEY_COUNT && value[key].text == NULL)
			value[key] = (struct config_piece){ equals + 1, strlen(equals + 1) };
		else if (key == CONFIG_KEY_COUNT && len > 10 && memcmp(entry, "TRACESHIM_", 10) == 0)
			config_reject_key(entry, len);
	}
}

LAYOUT_START static bool matches_any(struct config_piece list, struct config_piece program)
{
	struct config_piece item;

	while (config_next_item(&list, ',', &item))
		if (config_glob(item, program))
			return true;
	return false;
}

LAYOUT_START static void set_defaults(struct config_piece program)
{
	static const struct config_name none = { "", 0 };

	memset(&config, 0, sizeof(config));
	storage_used = 0;
	config.enabled = true;
	config.root = true;
	config.unbuffer = true;
	config.propagators = PROPAGATE_TRACECONTEXT | PROPAGATE_BAGGAGE;
	config.propagator_order[0] = PROPAGATE_TRACECONTEXT;
	config.propagator_order[1] = PROPAGATE_BAGGAGE;
	config.ring_size = RING_SIZE_DEFAULT;
	config.correlation_count = 1;
	config.correlation[0] = (struct config_name){ "x-trace-id", 10 };
	config.run_dir = (struct config_name){ "/tmp/traceshim", 14 };
	config.response_header = config.environment = config.version = config.resource = none;
	config.log_files = config.propagate_hosts = config.stdio_files = none;
	config.traceparent = config.tracestate = config.baggage = none;
	if (program.len > 255)
		program.len = 255;
	config.service = program.len > 0 ? config_store(program) : (struct config_name){ "unknown_service", 15 };
}

/* propagate_wants turns most header names away by their length alone. */
LAYOUT_START static void note_header_lengths(void)
{
	for (size_t i = 0; i < config.correlation_count; i++)
		config.header_lengths |= 1ull << (config.correlation[i].len - 1);
	for (size_t i = 0; i < config.field_count; i++)
		if (!config.field[i].from_baggage)
			config.header_lengths |= 1ull << (config.field[i].source.len - 1);
}

LAYOUT_START void config_load(char *const envp[], const char *program)
{
	struct config_piece value[CONFIG_KEY_COUNT] = { { NULL, 0 } };
	struct config_piece name = { program, program != NULL ? strlen(program) : 0 };

	set_defaults(name);
	read_environment(envp, value);
	if (value[CONFIG_KEY_config].len > 0)
		config_read_file(value[CONFIG_KEY_config], value);
	for (enum config_key key = 0; key < CONFIG_KEY_COUNT; key++)
		if (value[key].len > 0)
			config_apply(key, value[key]);
	if ((value[CONFIG_KEY_include].len > 0 && !matches_any(value[CONFIG_KEY_include], name)) ||
	    matches_any(value[CONFIG_KEY_exclude], name)) {
		config.excluded = true;
		config.enabled = false;
	}
	note_header_lengths();
	config_release_file();
}

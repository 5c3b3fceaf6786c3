/*
 * What the value of each key means: checked here, once, so that nobody has to check it again.
 *
 * Mechanism: one function per key, named in the table by key; each takes a value that is not empty, and either puts it
 * into `config` or rejects it (counted, noted) and leaves the default. In lists each member is judged for itself. Names
 * of headers are brought to lower case, because the scanners hand header names over in lower case. Names that would
 * break the framing of a message, or that the propagators write themselves, are refused as correlation and response
 * headers.
 *
 * Called by config_load only. Memory: values go to the arena of config.c; all lists have their maximum in limits.h.
 * Sources: OpenTelemetry environment variable specification, resource SDK (percent-encoding of attributes), RFC 9110
 * 5.6.2.
 */
#include "config_internal.h"

#include <string.h>

#include "ids.h"
#include "propagate.h"
#include "ring_format.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define NAME_ROOM 256 /* longest service name, run folder, ...; also what a status page can show of it */

static const char *const formats[] = { "otel", "camel", "ecs", "datadog", "gcp" };

/* Index of the value in `words`, or -1. */
static int choose(struct config_piece value, const char *const words[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (config_equals(value, words[i]))
			return (int)i;
	return -1;
}

/* Is it among the words? Each of them ends in a NUL, the list in another one: a pointer a word would be a relocation. */
static bool is_listed(struct config_piece value, const char *words)
{
	for (; *words != '\0'; words += strlen(words) + 1)
		if (config_equals(value, words))
			return true;
	return false;
}

static void set_switch(enum config_key key, struct config_piece value, bool *to)
{
	static const char *const words[] = { "1", "on", "true", "yes", "0", "off", "false", "no" };
	int index = choose(value, words, COUNT(words));

	if (index < 0)
		config_reject(key, value, "must be on or off (1/0, true/false, yes/no)");
	else
		*to = index < 4;
}

bool config_is_format(struct config_piece value)
{
	return value.len > 0 && choose(value, formats, COUNT(formats)) >= 0;
}

static void set_log(struct config_piece value)
{
	static const char *const modes[] = { "json", "text", "off" };
	int mode = choose(value, modes, COUNT(modes));
	int format = choose(value, formats, COUNT(formats));

	if (mode >= 0) {
		config.log_mode = (enum log_mode)mode;
	} else if (format >= 0) {
		config.log_mode = LOG_JSON;
		config.log_format = (enum log_format)format;
	} else {
		config_reject(CONFIG_KEY_log, value, "must be json, text, off, otel, camel, ecs, datadog or gcp");
	}
}

static void set_format(struct config_piece value)
{
	int format = choose(value, formats, COUNT(formats));

	if (format >= 0)
		config.log_format = (enum log_format)format;
	else
		config_reject(CONFIG_KEY_format, value, "must be otel, camel, ecs, datadog or gcp");
}

static void set_datadog_ids(struct config_piece value)
{
	static const char *const words[] = { "hex", "decimal" };
	int index = choose(value, words, COUNT(words));

	if (index >= 0)
		config.datadog_decimal = index == 1;
	else
		config_reject(CONFIG_KEY_datadog_ids, value, "must be hex or decimal");
}

static void set_loop(struct config_piece value)
{
	static const char *const words[] = { "auto", "inline", "single", "off" };
	int index = choose(value, words, COUNT(words));

	if (index >= 0)
		config.loop_trust = (enum loop_trust)index;
	else
		config_reject(CONFIG_KEY_loop, value, "must be auto, inline, single or off");
}

static void set_attribution(struct config_piece value)
{
	static const char *const words[] = { "proven", "validated" };
	int index = choose(value, words, COUNT(words));

	if (index >= 0)
		config.attribution = (enum attribution)index;
	else
		config_reject(CONFIG_KEY_attribution, value, "must be proven or validated");
}

static bool has_control(struct config_piece value)
{
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.text[i] < ' ' || value.text[i] == 0x7f)
			return true;
	return false;
}

static void set_text(enum config_key key, struct config_piece value, size_t most, struct config_name *to)
{
	if (value.len > most || has_control(value))
		config_reject(key, value, "too long, or has control characters");
	else
		*to = config_store(value);
}

static void set_run_dir(struct config_piece value)
{
	while (value.len > 1 && value.text[value.len - 1] == '/')
		value.len--;
	if (value.text[0] != '/')
		config_reject(CONFIG_KEY_run_dir, value, "must be an absolute path");
	else
		set_text(CONFIG_KEY_run_dir, value, NAME_ROOM - 1, &config.run_dir);
}

/* The names of OpenTelemetry's SDKs: here they say that somebody wants it, and the agent's settings say who. */
static void set_exporter(struct config_piece value, bool *to)
{
	*to = !config_equals(value, "none");
}

static void set_export(struct config_piece value)
{
	static const char *const words[] = { "traces", "logs", "none" };
	bool chosen[COUNT(words)] = { false }, any = false;
	struct config_piece item;

	while (config_next_item(&value, ',', &item)) {
		int index = choose(item, words, COUNT(words));

		if (index < 0)
			config_reject(CONFIG_KEY_export, item, "must be traces, logs or none");
		else
			chosen[index] = any = true;
	}
	if (!any)
		return;
	config.export_traces = chosen[0] && !chosen[2];
	config.export_logs = chosen[1] && !chosen[2];
}

static void set_ring_size(struct config_piece value)
{
	uint32_t size = RING_CAPACITY_MIN;
	uint64_t wanted = 0;
	size_t i;

	for (i = 0; i < value.len && value.text[i] >= '0' && value.text[i] <= '9' && wanted <= RING_CAPACITY_MAX; i++)
		wanted = wanted * 10 + (uint64_t)(value.text[i] - '0');
	if (i < value.len || wanted < RING_CAPACITY_MIN || wanted > RING_CAPACITY_MAX) {
		config_reject(CONFIG_KEY_ring_size, value, "must be 65536 to 67108864 bytes");
		return;
	}
	while (size < wanted)
		size *= 2;
	config.ring_size = size;
}

static void set_stdio(struct config_piece value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (strchr("0123456789abcdef:,-", value.text[i]) == NULL || value.len >= NAME_ROOM) {
			config_reject(CONFIG_KEY_stdio, value, "must be device:inode pairs, - for none");
			return;
		}
	}
	config.stdio_files = config_store(value);
}

static void set_sdk_disabled(struct config_piece value)
{
	if (config_equals(value, "true"))
		config.enabled = false;
	else if (!config_equals(value, "false"))
		config_reject(CONFIG_KEY_sdk_disabled, value, "must be true or false");
}

/* RFC 9110 'token'. */
static bool is_token(struct config_piece value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = config_lower(value.text[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
			return false;
	}
	return value.len > 0;
}

/* The name in lower case at `out`, or 0 when it is not a header name that we can handle. */
static struct config_piece header_name(struct config_piece value, char out[LIMIT_HEADER_NAME])
{
	if (value.len > LIMIT_HEADER_NAME || !is_token(value))
		return (struct config_piece){ NULL, 0 };
	for (size_t i = 0; i < value.len; i++)
		out[i] = config_lower(value.text[i]);
	return (struct config_piece){ out, value.len };
}

static const char framing[] =
	"connection\0content-length\0content-type\0content-encoding\0content-range\0cookie\0date\0"
	"expect\0host\0keep-alive\0location\0proxy-connection\0proxy-authorization\0authorization\0"
	"set-cookie\0te\0trailer\0transfer-encoding\0upgrade\0via\0";

/* May we write a header of this (lower-case) name into somebody's message? */
static bool is_writable_header(struct config_piece name)
{
	return name.len > 0 && !is_listed(name, framing) && propagate_own_header(name.text, name.len) == 0;
}

static void set_headers(struct config_piece value)
{
	const struct config_name standard = config.correlation[0];
	struct config_piece item;
	char lower[LIMIT_HEADER_NAME];
	size_t count = 0;

	config.correlation_count = 0; /* before the first is_writable_header: a name of the default list is none yet */
	if (config_equals(value, "none"))
		return;
	while (config_next_item(&value, ',', &item)) {
		struct config_piece name = header_name(item, lower);
		size_t same = 0;

		while (same < count && !config_equals(name, config.correlation[same].text))
			same++;
		if (!is_writable_header(name))
			config_reject(CONFIG_KEY_headers, item, "not the name of a header that may be added");
		else if (count == LIMIT_CORRELATION_HEADERS)
			config_reject(CONFIG_KEY_headers, item, "at most 4 headers");
		else if (same == count && (config.correlation[count] = config_store(name)).len > 0)
			count++;
	}
	if (count == 0)
		config.correlation[count++] = standard;
	config.correlation_count = count;
}

static void set_response_header(struct config_piece value)
{
	char lower[LIMIT_HEADER_NAME];
	struct config_piece name = header_name(value, lower);
	size_t listed = config.correlation_count;

	config.correlation_count = 0; /* a correlation header is fine here */
	if (is_writable_header(name))
		config.response_header = config_store(name);
	else
		config_reject(CONFIG_KEY_response_header, value, "not the name of a header that may be added");
	config.correlation_count = listed;
}

static const char reserved[] =
	"message\0timestamp\0@timestamp\0time\0severity\0level\0status\0log.level\0trace_id\0span_id\0"
	"trace_flags\0traceid\0spanid\0traceflags\0trace.id\0span.id\0dd.trace_id\0dd.span_id\0"
	"dd.service\0dd.env\0dd.version\0logging.googleapis.com/trace\0logging.googleapis.com/spanid\0"
	"logging.googleapis.com/trace_sampled\0service\0service.name\0service.version\0ecs.version\0"
	"pid\0tid\0process.pid\0process.thread.id\0stream\0partial\0correlation_id\0";

/* A field name that needs no escaping and cannot be taken for one of the record's own: a caller could forge those. */
static bool is_field_name(struct config_piece name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = config_lower(name.text[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr("._@/:-", c) == NULL))
			return false;
	}
	return name.len > 0 && name.len <= LIMIT_HEADER_NAME && !is_listed(name, reserved);
}

static bool is_field_taken(struct config_piece name)
{
	for (size_t i = 0; i < config.field_count; i++)
		if (config.field[i].field.len == name.len &&
		    memcmp(config.field[i].field.text, name.text, name.len) == 0)
			return true;
	return false;
}

static void add_field(enum config_key key, struct config_piece item, bool from_baggage)
{
	const char *equals = memchr(item.text, '=', item.len);
	struct config_piece source = item, name = item, none;
	struct config_field field = { .from_baggage = from_baggage };
	char lower[LIMIT_HEADER_NAME];

	if (equals != NULL) {
		none = source = (struct config_piece){ item.text, (size_t)(equals - item.text) };
		config_next_item(&none, '=', &source); /* for its trimming */
		name = (struct config_piece){ NULL, 0 };
		none = (struct config_piece){ equals + 1, item.len - (size_t)(equals + 1 - item.text) };
		config_next_item(&none, '=', &name);
		if (none.len > 0)
			name.len = 0;
	}
	if (!from_baggage) {
		source = header_name(source, lower);
		if (equals == NULL)
			name = source;
	}
	if (!is_token(source) || source.len > LIMIT_HEADER_NAME || !is_field_name(name)) {
		config_reject(key, item, "must be name=field, with a field name that records do not use already");
	} else if (config.field_count == LIMIT_LOG_FIELDS || is_field_taken(name)) {
		config_reject(key, item, "the field is there already, or there are more than 12");
	} else {
		field.source = config_store(source);
		field.field = config_store(name);
		if (field.source.len > 0 && field.field.len > 0)
			config.field[config.field_count++] = field;
	}
}

static void set_fields(enum config_key key, struct config_piece value)
{
	struct config_piece item;

	while (config_next_item(&value, ',', &item))
		add_field(key, item, key == CONFIG_KEY_log_baggage);
}

static void set_propagators(struct config_piece value)
{
	static const char *const words[] = { "tracecontext", "baggage", "b3", "b3multi", "jaeger", "none" };
	struct config_piece item, rest = value;
	uint8_t order[COUNT(words)] = { 0 };
	uint32_t set = 0;
	size_t count = 0;

	while (config_next_item(&rest, ',', &item)) {
		int index = choose(item, words, COUNT(words));
		uint32_t bit = index < 0 ? 0 : 1u << index;

		if (index < 0)
			config_reject(CONFIG_KEY_propagators, item,
			              "must be tracecontext, baggage, b3, b3multi, jaeger or none");
		else if (!(set & bit))
			order[count++] = (uint8_t)bit;
		set |= bit;
	}
	if (set == 0)
		return;
	if (set & (1u << 5)) { /* none */
		set = 0;
		memset(order, 0, sizeof(order));
	}
	config.propagators = set;
	memcpy(config.propagator_order, order, sizeof(config.propagator_order));
}

static void set_propagate(struct config_piece value)
{
	struct config_piece item;
	char pattern[NAME_ROOM + 16]; /* a host name of 253, brackets, a port */
	size_t total = 0;
	struct config_name all = { "", 0 }, last;
	bool any = false;

	while (config_next_item(&value, ',', &item)) {
		size_t len = config_host_pattern(item, pattern, sizeof(pattern));

		if (len == 0) {
			config_reject(CONFIG_KEY_propagate, item,
			              "must be a host name, *.name, .name or an address, with :port or not");
			continue;
		}
		any = any || (len == 1 && pattern[0] == '*');
		last = config_store((struct config_piece){ pattern, len });
		if (last.len == 0)
			break;
		if (total == 0)
			all = last;
		else
			((char *)(uintptr_t)last.text)[-1] = ','; /* it follows its predecessor's NUL in the arena */
		total += last.len + 1u;
	}
	all.len = total > 0 ? (uint16_t)(total - 1) : 0;
	if (total == 0)
		all = (struct config_name){ ",", 1 }; /* matches no host */
	if (!any)
		config.propagate_hosts = all;
}

/* Percent-decoding. Returns the length, or 0 where it is wrong, too long, or has control characters. */
static size_t decode(struct config_piece value, char *out, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < value.len; i++, len++) {
		uint8_t byte = (uint8_t)value.text[i];

		if (byte == '%') {
			if (value.len - i < 3 || ids_unhex(&byte, value.text + i + 1, 1, 0) != 0)
				return 0;
			i += 2;
		}
		if (len == room || byte < ' ' || byte == 0x7f)
			return 0;
		out[len] = (char)byte;
	}
	return len;
}

static void set_attribute(struct config_piece item)
{
	static const char *const names[] = { "service.name", "service.version", "deployment.environment.name",
		                             "deployment.environment" };
	struct config_name *const to[] = { &config.service, &config.version, &config.environment, &config.environment };
	const char *equals = memchr(item.text, '=', item.len);
	struct config_piece rest = { item.text, equals != NULL ? (size_t)(equals - item.text) : 0 }, name, value;
	char decoded[NAME_ROOM - 1];
	int index;

	if (equals == NULL || !config_next_item(&rest, '=', &name)) {
		config_reject(CONFIG_KEY_resource_attributes, item, "must be key=value");
		return;
	}
	index = choose(name, names, COUNT(names));
	rest = (struct config_piece){ equals + 1, item.len - (size_t)(equals + 1 - item.text) };
	if (index < 0 || !config_next_item(&rest, '\0', &value))
		return;
	value.len = decode(value, decoded, sizeof(decoded));
	value.text = decoded;
	if (value.len == 0)
		config_reject(CONFIG_KEY_resource_attributes, item,
		              "must be percent-encoded text, of at most 255 bytes");
	else if (index != 3 || config.environment.len == 0) /* the older name does not win over the newer */
		*to[index] = config_store(value);
}

static void set_attributes(struct config_piece value)
{
	struct config_piece item;

	if (value.len < RING_RESOURCE_MAX && !has_control(value) && (config.export_traces || config.export_logs))
		config.resource = config_store(value);
	while (config_next_item(&value, ',', &item))
		set_attribute(item);
}

/* Not within config_load, whose stack frame the values fill. */
__attribute__((noinline)) void config_apply(enum config_key key, struct config_piece value)
{
	switch (key) {
	case CONFIG_KEY_enabled: set_switch(key, value, &config.enabled); break;
	case CONFIG_KEY_raw: set_switch(key, value, &config.raw); break;
	case CONFIG_KEY_root: set_switch(key, value, &config.root); break;
	case CONFIG_KEY_unbuffer: set_switch(key, value, &config.unbuffer); break;
	case CONFIG_KEY_log_class: set_switch(key, value, &config.log_class); break;
	case CONFIG_KEY_log_tty: set_switch(key, value, &config.log_terminal); break;
	case CONFIG_KEY_log: set_log(value); break;
	case CONFIG_KEY_format: set_format(value); break;
	case CONFIG_KEY_datadog_ids: set_datadog_ids(value); break;
	case CONFIG_KEY_log_files: set_text(key, value, 4096, &config.log_files); break;
	case CONFIG_KEY_log_headers:
	case CONFIG_KEY_log_baggage: set_fields(key, value); break;
	case CONFIG_KEY_headers: set_headers(value); break;
	case CONFIG_KEY_propagate: set_propagate(value); break;
	case CONFIG_KEY_response_header: set_response_header(value); break;
	case CONFIG_KEY_run_dir: set_run_dir(value); break;
	case CONFIG_KEY_traces_exporter: set_exporter(value, &config.export_traces); break;
	case CONFIG_KEY_logs_exporter: set_exporter(value, &config.export_logs); break;
	case CONFIG_KEY_export: set_export(value); break;
	case CONFIG_KEY_ring_size: set_ring_size(value); break;
	case CONFIG_KEY_loop: set_loop(value); break;
	case CONFIG_KEY_attribution: set_attribution(value); break;
	case CONFIG_KEY_stdio: set_stdio(value); break;
	case CONFIG_KEY_traceparent: set_text(key, value, 256, &config.traceparent); break;
	case CONFIG_KEY_tracestate: set_text(key, value, 4096, &config.tracestate); break;
	case CONFIG_KEY_baggage: set_text(key, value, LIMIT_BAGGAGE, &config.baggage); break;
	case CONFIG_KEY_resource_attributes: set_attributes(value); break;
	case CONFIG_KEY_service_name: set_text(key, value, NAME_ROOM - 1, &config.service); break;
	case CONFIG_KEY_propagators: set_propagators(value); break;
	case CONFIG_KEY_sdk_disabled: set_sdk_disabled(value); break;
	case CONFIG_KEY_config: /* these are used by config_load itself, */
	case CONFIG_KEY_include:
	case CONFIG_KEY_exclude:
	case CONFIG_KEY_library: /* and this by the traceshim program */
	case CONFIG_KEY_COUNT: break;
	}
}

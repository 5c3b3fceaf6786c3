/*
 * Options win over variables, variables for one signal over those for all, as the OpenTelemetry specification has it. An empty
 * value means unset. A wrong variable is told and ignored; a wrong option is an error, because somebody has just typed it.
 */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../status_file.h"
#include "../text.h"

const char settings_help[] =
	"Usage: traceshim agent [OPTION]...\n"
	"\n"
	"Collect the spans and log lines that traced programs leave (TRACESHIM_EXPORT=traces,logs), and\n"
	"bring them to a back end.\n"
	"\n"
	"  --otlp URL           an OpenTelemetry receiver: URL/v1/traces, URL/v1/logs (OTLP/HTTP, JSON)\n"
	"                       (OTEL_EXPORTER_OTLP_ENDPOINT)\n"
	"  --loki URL           log lines to Loki: URL/loki/api/v1/push\n"
	"  --loki-tenant ID     X-Scope-OrgID\n"
	"  --spans FILE         append OTLP JSON lines to FILE ('-': standard output)\n"
	"  --ui [ADDR:PORT]     a page to look at (default 127.0.0.1:4319), and /metrics for Prometheus\n"
	"  --metrics ADDR:PORT  /metrics only\n"
	"  --token TOKEN        what visitors must know; needed where ADDR is not loopback (others can read\n"
	"                       an option: rather set TRACESHIM_TOKEN)\n"
	"  --run-dir DIR        the folder of the rings (TRACESHIM_RUN_DIR, default /tmp/traceshim)\n"
	"  --spool DIR          what waits for a back end (default: a folder in that of the rings)\n"
	"  --spool-max MIB      and how much of it at most (1024)\n"
	"  --retry-delay MS     before the first repetition (1000); doubles five times\n"
	"  --flush-timeout MS   how long to try to send what is left when told to end (5000)\n"
	"  -h, --help           show this\n"
	"\n"
	"Variables: OTEL_EXPORTER_OTLP_* (ENDPOINT, HEADERS, TIMEOUT, COMPRESSION, CERTIFICATE, CLIENT_KEY,\n"
	"CLIENT_CERTIFICATE; also ..._TRACES_* and ..._LOGS_*), OTEL_TRACES_EXPORTER, OTEL_LOGS_EXPORTER,\n"
	"OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_BSP_*, OTEL_BLRP_*.\n";

enum option_value {
	OPTION_OTLP = 256,
	OPTION_LOKI,
	OPTION_LOKI_TENANT,
	OPTION_SPANS,
	OPTION_UI,
	OPTION_METRICS,
	OPTION_TOKEN,
	OPTION_RUN_DIR,
	OPTION_SPOOL,
	OPTION_SPOOL_MAX,
	OPTION_RETRY_DELAY,
	OPTION_FLUSH_TIMEOUT,
	OPTION_FOR,
	OPTION_READY,
	OPTION_PRIVATE
};

static const struct option options[] = {
	{ "otlp", required_argument, NULL, OPTION_OTLP },
	{ "loki", required_argument, NULL, OPTION_LOKI },
	{ "loki-tenant", required_argument, NULL, OPTION_LOKI_TENANT },
	{ "spans", required_argument, NULL, OPTION_SPANS },
	{ "ui", optional_argument, NULL, OPTION_UI },
	{ "metrics", required_argument, NULL, OPTION_METRICS },
	{ "token", required_argument, NULL, OPTION_TOKEN },
	{ "run-dir", required_argument, NULL, OPTION_RUN_DIR },
	{ "spool", required_argument, NULL, OPTION_SPOOL },
	{ "spool-max", required_argument, NULL, OPTION_SPOOL_MAX },
	{ "retry-delay", required_argument, NULL, OPTION_RETRY_DELAY },
	{ "flush-timeout", required_argument, NULL, OPTION_FLUSH_TIMEOUT },
	/* What `traceshim run` says to the agent that it starts. */
	{ "for-pid", required_argument, NULL, OPTION_FOR },
	{ "ready-fd", required_argument, NULL, OPTION_READY },
	{ "private", no_argument, NULL, OPTION_PRIVATE },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

enum { NAME_SIZE = 80 };

/* OTEL_EXPORTER_OTLP_<signal>_<what>, or OTEL_EXPORTER_OTLP_<what>; `name`: which of them it is. */
static const char *otlp_variable(const char *signal, const char *what, char name[NAME_SIZE])
{
	const char *value;

	snprintf(name, NAME_SIZE, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
	value = variable(name);
	if (value)
		return value;
	snprintf(name, NAME_SIZE, "OTEL_EXPORTER_OTLP_%s", what);
	return variable(name);
}

/* Once for each name and value: some are read for spans and again for lines. */
static void warn(const char *name, const char *value, const char *why)
{
	static char told[32][NAME_SIZE];
	char here[NAME_SIZE];

	snprintf(here, sizeof(here), "%s=%s", name, value);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		if (strcmp(told[i], here) == 0)
			return;
		if (told[i][0] == '\0') {
			memcpy(told[i], here, sizeof(here));
			break;
		}
	}
	text_error("agent: %s=%s is ignored: %s", name, value, why);
}

static bool number(const char *text, unsigned least, unsigned most, unsigned *out)
{
	unsigned long value;
	char *end;

	if (!*text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end || errno || value < least || value > most)
		return false;
	*out = (unsigned)value;
	return true;
}

static unsigned number_variable(const char *prefix, const char *what, unsigned least, unsigned otherwise)
{
	unsigned value = otherwise;
	const char *text;
	char name[64];

	snprintf(name, sizeof(name), "%s%s", prefix, what);
	text = variable(name);
	if (text && !number(text, least, 100000000, &value))
		warn(name, text, "it is not a number that can be");
	return value;
}

static bool is_url(const char *url)
{
	const char *host = strncmp(url, "http://", 7) == 0  ? url + 7 :
	                   strncmp(url, "https://", 8) == 0 ? url + 8 :
	                                                      NULL;

	return host && *host && *host != '/' && !strpbrk(url, " \t\r\n");
}

/* base, without slashes at its end, and path */
static char *join(const char *base, const char *path)
{
	size_t len = strlen(base);
	char *url;

	while (len && base[len - 1] == '/')
		len--;
	return asprintf(&url, "%.*s%s", (int)len, base, path) < 0 ? NULL : url;
}

static bool add_header(struct settings_target *t, const char *name, const char *value, size_t value_len)
{
	unsigned count = 0;

	while (t->headers[count])
		count++;
	return count < SETTINGS_HEADERS_MAX &&
	       asprintf(&t->headers[count], "%s: %.*s", name, (int)value_len, value) >= 0;
}

/* The value of "%XX", -1 when it is none. */
static int percent_value(const char *at)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *high = at[0] == '%' && at[1] ? strchr(digits, at[1]) : NULL;
	const char *low = high && at[2] ? strchr(digits, at[2]) : NULL;
	unsigned value[2];

	if (!low)
		return -1;
	value[0] = (unsigned)(high - digits);
	value[1] = (unsigned)(low - digits);
	for (int i = 0; i < 2; i++)
		value[i] -= value[i] > 15 ? 6 : 0;
	return (int)(value[0] * 16 + value[1]);
}

/* "k=v,k2=v2", values percent-encoded */
static void read_headers(struct settings_target *t, const char *variable_name, const char *list)
{
	char *copy = strdup(list), *rest = copy, *pair;

	while (copy && (pair = strsep(&rest, ","))) {
		char *value = strchr(pair, '=');
		size_t len = 0;

		pair += strspn(pair, " \t");
		if (!*pair && !value)
			continue;
		if (!value || value == pair) {
			warn(variable_name, "(a part)", "it is not name=value");
			continue;
		}
		*value++ = '\0';
		pair[strcspn(pair, " \t")] = '\0';
		value += strspn(value, " \t");
		for (char *from = value; *from; from++) {
			int byte = percent_value(from);

			value[len++] = byte < 0 ? *from : (char)byte;
			from += byte < 0 ? 0 : 2;
		}
		if (memchr(value, '\r', len) || memchr(value, '\n', len) || memchr(value, '\0', len) ||
		    !add_header(t, pair, value, len))
			warn(variable_name, pair, "it is no header that can be sent");
	}
	free(copy);
}

static void read_batches(struct settings_target *t, const char *prefix, unsigned delay)
{
	t->delay_ms = number_variable(prefix, "SCHEDULE_DELAY", 0, delay);
	t->queue = number_variable(prefix, "MAX_QUEUE_SIZE", 1, 2048);
	t->batch = number_variable(prefix, "MAX_EXPORT_BATCH_SIZE", 1, 512);
	if (t->batch > t->queue)
		t->batch = t->queue;
	t->timeout_ms = number_variable(prefix, "EXPORT_TIMEOUT", 1, 30000);
}

/* The settings of a signal of OTLP; `signal` is TRACES or LOGS. */
static void read_otlp(struct settings_target *t, const char *signal, const char *base, const char *path)
{
	const char *value, *exporter;
	unsigned timeout = 10000;
	char name[NAME_SIZE];

	value = otlp_variable(signal, "TIMEOUT", name);
	if (value && !number(value, 1, 86400000, &timeout))
		warn(name, value, "it is not a number of milliseconds");
	t->timeout_ms = timeout < t->timeout_ms ? timeout : t->timeout_ms;
	value = otlp_variable(signal, "COMPRESSION", name);
	t->gzip = value && strcmp(value, "gzip") == 0;
	if (value && !t->gzip && strcmp(value, "none") != 0)
		warn(name, value, "it is gzip or none");
	value = otlp_variable(signal, "PROTOCOL", name);
	if (value && strcmp(value, "http/json") != 0)
		warn(name, value, "only http/json is spoken here");
	t->certificate = otlp_variable(signal, "CERTIFICATE", name);
	t->client_key = otlp_variable(signal, "CLIENT_KEY", name);
	t->client_certificate = otlp_variable(signal, "CLIENT_CERTIFICATE", name);
	value = otlp_variable(signal, "HEADERS", name);
	if (value)
		read_headers(t, name, value);
	snprintf(name, sizeof(name), "OTEL_%s_EXPORTER", signal);
	exporter = variable(name);
	if (exporter && strcmp(exporter, "none") == 0)
		return;
	if (exporter && strcmp(exporter, "otlp") != 0)
		warn(name, exporter, "it is otlp or none");
	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s_ENDPOINT", signal);
	value = base ? NULL : variable(name);
	if (value && !is_url(value)) {
		warn(name, value, "it is not an http or https URL");
		value = NULL;
	}
	if (value) {
		t->url = strdup(value);
		return;
	}
	if (!base && (base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")) && !is_url(base)) {
		warn("OTEL_EXPORTER_OTLP_ENDPOINT", base, "it is not an http or https URL");
		base = NULL;
	}
	if (base)
		t->url = join(base, path);
}

static void read_loki(struct settings_target *t, const char *base, const char *tenant)
{
	if (!base)
		return;
	t->url = strstr(base, "/push") ? strdup(base) : join(base, "/loki/api/v1/push");
	if (t->timeout_ms > 10000)
		t->timeout_ms = 10000;
	t->gzip = true;
	if (tenant)
		(void)add_header(t, "X-Scope-OrgID", tenant, strlen(tenant));
}

struct given {
	const char *otlp, *loki, *tenant;
};

static bool apply_number(const char *name, unsigned least, unsigned most, unsigned *out)
{
	if (number(optarg, least, most, out))
		return true;
	text_error("agent: %s takes a number from %u to %u, not '%s'", name, least, most, optarg);
	return false;
}

static bool apply_url(const char *name, const char **out)
{
	*out = optarg;
	if (is_url(optarg))
		return true;
	text_error("agent: %s takes an http or https URL, not '%s'", name, optarg);
	return false;
}

/* It goes through addresses and cookies as it is, and an empty one would be no secret. */
static bool apply_token(struct settings *s, const char *token)
{
	static const char allowed[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~";
	size_t len = strlen(token);

	s->token = token;
	if (len >= 1 && len <= SETTINGS_TOKEN_MAX && strspn(token, allowed) == len)
		return true;
	text_error("agent: a token is 1 to %d letters, digits and any of -._~", SETTINGS_TOKEN_MAX);
	return false;
}

static bool apply(struct settings *s, struct given *given, int option, char **argv)
{
	unsigned value = 0;
	bool ok = true;

	switch (option) {
	case OPTION_OTLP: return apply_url("--otlp", &given->otlp);
	case OPTION_LOKI: return apply_url("--loki", &given->loki);
	case OPTION_LOKI_TENANT: given->tenant = optarg; break;
	case OPTION_SPANS: s->spans_file = optarg; break;
	case OPTION_UI:
		s->ui = optarg;
		/* The address may stand for itself: no other argument is known. */
		if (!optarg && argv[optind] && argv[optind][0] != '-')
			s->ui = argv[optind++];
		if (!s->ui)
			s->ui = "127.0.0.1:4319";
		break;
	case OPTION_METRICS: s->metrics = optarg; break;
	case OPTION_TOKEN: return apply_token(s, optarg);
	case OPTION_RUN_DIR: s->run_dir = optarg; break;
	case OPTION_SPOOL:
		free(s->spool_dir);
		s->spool_dir = strdup(optarg);
		break;
	case OPTION_SPOOL_MAX:
		ok = apply_number("--spool-max", 1, 1u << 30, &value);
		s->spool_bytes = (uint64_t)value << 20;
		break;
	case OPTION_RETRY_DELAY: return apply_number("--retry-delay", 1, 3600000, &s->retry_ms);
	case OPTION_FLUSH_TIMEOUT: return apply_number("--flush-timeout", 0, 3600000, &s->flush_ms);
	case OPTION_FOR:
		ok = apply_number("--for-pid", 1, INT_MAX, &value);
		s->for_pid = (int)value;
		break;
	case OPTION_READY:
		ok = apply_number("--ready-fd", 0, INT_MAX, &value);
		s->ready_fd = (int)value;
		break;
	default: s->private_dir = true; break;
	}
	return ok;
}

enum settings_result settings_read(struct settings *s, int argc, char **argv)
{
	struct given given = { 0 };
	const char *sampler = variable("OTEL_TRACES_SAMPLER"), *argument = variable("OTEL_TRACES_SAMPLER_ARG");
	int option;

	*s = (struct settings){ .retry_ms = 1000, .flush_ms = 5000, .spool_bytes = 1ull << 30, .ready_fd = -1 };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == 'h')
			return SETTINGS_HELP;
		if (option == '?' || option == ':') {
			text_usage_error("agent", option, argv);
			return SETTINGS_WRONG;
		}
		if (!apply(s, &given, option, argv))
			return SETTINGS_WRONG;
	}
	if (argv[optind]) {
		text_error("agent: '%s' is no option; see `traceshim agent --help`", argv[optind]);
		return SETTINGS_WRONG;
	}
	if (!s->token && variable("TRACESHIM_TOKEN") && !apply_token(s, variable("TRACESHIM_TOKEN")))
		return SETTINGS_WRONG;
	if (!s->run_dir)
		s->run_dir = status_run_dir();
	read_batches(&s->traces, "OTEL_BSP_", 5000);
	read_batches(&s->logs, "OTEL_BLRP_", 1000);
	read_batches(&s->loki, "OTEL_BLRP_", 1000);
	read_otlp(&s->traces, "TRACES", given.otlp, "/v1/traces");
	read_otlp(&s->logs, "LOGS", given.otlp, "/v1/logs");
	read_loki(&s->loki, given.loki, given.tenant);
	if (!sampler_set(&s->sampler, sampler, argument))
		warn("OTEL_TRACES_SAMPLER", sampler,
		     "it is no sampler that is known, or its argument is not from 0 to 1");
	if (!s->spool_dir && asprintf(&s->spool_dir, "%s/spool-%u", s->run_dir, (unsigned)geteuid()) < 0)
		s->spool_dir = NULL;
	if (s->traces.url || s->logs.url || s->loki.url || s->spans_file || s->ui || s->metrics)
		return SETTINGS_OK;
	text_error("agent: where to? --otlp URL, --loki URL, --spans FILE or --ui; see `traceshim agent --help`");
	return SETTINGS_WRONG;
}

static void free_target(struct settings_target *t)
{
	for (unsigned i = 0; t->headers[i]; i++)
		free(t->headers[i]);
	free(t->url);
}

void settings_free(struct settings *s)
{
	free_target(&s->traces);
	free_target(&s->logs);
	free_target(&s->loki);
	free(s->spool_dir);
}

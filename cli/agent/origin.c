/*
 * Equal resources are one origin, found by their text: rings are opened rarely, and a process's threads have one each.
 * OTEL_RESOURCE_ATTRIBUTES is the W3C baggage format, key=value pairs with percent-encoded values; what in it is no pair is
 * left out (the guest has told it to the status already). service.name is the guest's decision, and process attributes are
 * facts: an attribute of the user's never replaces these.
 */
#include "origin.h"

#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "buffer.h"
#include "../text.h"

static struct origin *origins;

static void origin_begin_attribute(struct buffer *b, const char *key, size_t len)
{
	if (b->len && b->at[b->len - 1] == '}')
		buffer_put(b, ",", 1);
	buffer_put_text(b, "{\"key\":");
	buffer_put_quoted(b, key, len);
	buffer_put_text(b, ",\"value\":{");
}

static void origin_put_string(struct buffer *b, const char *key, size_t key_len, const char *value, size_t len)
{
	origin_begin_attribute(b, key, key_len);
	buffer_put_text(b, "\"stringValue\":");
	buffer_put_quoted(b, value, len);
	buffer_put_text(b, "}}");
}

static void origin_put_text(struct buffer *b, const char *key, const char *value)
{
	if (*value)
		origin_put_string(b, key, strlen(key), value, strlen(value));
}

static int origin_hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
	                              -1;
}

/* Percent-decode in place; returns the new length. */
static size_t origin_decode(char *value, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		if (value[i] == '%' && i + 2 < len && origin_hex(value[i + 1]) >= 0 && origin_hex(value[i + 2]) >= 0) {
			value[used++] = (char)(origin_hex(value[i + 1]) << 4 | origin_hex(value[i + 2]));
			i += 2;
		} else {
			value[used++] = value[i];
		}
	}
	return used;
}

static char *origin_trim(char *s, size_t *len)
{
	while (*len && (*s == ' ' || *s == '\t')) {
		s++;
		(*len)--;
	}
	while (*len && (s[*len - 1] == ' ' || s[*len - 1] == '\t'))
		(*len)--;
	return s;
}

static bool origin_is(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(key, name, len) == 0;
}

/* Do we state this one ourselves? */
static bool origin_owns(const char *key, size_t len)
{
	static const char *const own[] = { "service.name", "process.pid", "process.executable.name",
		                           "telemetry.sdk.name", "telemetry.sdk.version" };

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (origin_is(key, len, own[i]))
			return true;
	return false;
}

/* The user's attributes; `labels` gets the few that may be labels. */
static void origin_put_resource(struct buffer *b, struct buffer *labels, char *pairs, bool *host)
{
	char *pair = pairs, *rest;

	for (; pair; pair = rest) {
		char *equals, *key, *value;
		size_t key_len, len;

		rest = strchr(pair, ',');
		if (rest)
			*rest++ = '\0';
		equals = strchr(pair, '=');
		if (!equals)
			continue;
		key_len = (size_t)(equals - pair);
		key = origin_trim(pair, &key_len);
		len = strlen(equals + 1);
		value = origin_trim(equals + 1, &len);
		len = origin_decode(value, len);
		if (!key_len || !len || origin_owns(key, key_len))
			continue;
		*host = *host || origin_is(key, key_len, "host.name");
		origin_put_string(b, key, key_len, value, len);
		if (origin_is(key, key_len, "deployment.environment.name") ||
		    origin_is(key, key_len, "deployment.environment")) {
			buffer_put_text(labels, ",\"deployment_environment\":");
			buffer_put_quoted(labels, value, len);
		}
	}
}

static void origin_write(const struct ring_header *header, const char *service, struct buffer *b, struct buffer *labels)
{
	char pairs[RING_RESOURCE_MAX];
	bool host = false;

	buffer_put_text(labels, "{\"service_name\":");
	buffer_put_quoted(labels, service, strlen(service));
	buffer_put_text(b, "{\"attributes\":[");
	origin_put_text(b, "service.name", service);
	memcpy(pairs, header->resource, sizeof(pairs));
	pairs[sizeof(pairs) - 1] = '\0';
	origin_put_resource(b, labels, pairs, &host);
	if (!host)
		origin_put_text(b, "host.name", header->host);
	origin_put_text(b, "process.executable.name", header->program);
	origin_begin_attribute(b, "process.pid", strlen("process.pid"));
	buffer_put_text(b, "\"intValue\":\"");
	buffer_put_number(b, header->pid > 0 ? (uint64_t)header->pid : 0);
	buffer_put_text(b, "\"}}");
	origin_put_text(b, "telemetry.sdk.name", "traceshim");
	origin_put_text(b, "telemetry.sdk.version", header->version);
	buffer_put(b, "]}", 3); /* with its NUL */
	buffer_put(labels, "}", 2);
}

struct origin *origin_take(const struct ring_header *header)
{
	struct buffer resource = { 0 }, labels = { 0 };
	struct origin *o;
	char service[sizeof(o->service)];

	if (header->service[0])
		snprintf(service, sizeof(service), "%s", header->service);
	else
		snprintf(service, sizeof(service), "unknown_service:%s", header->program);
	origin_write(header, service, &resource, &labels);
	for (o = origins; o && !resource.failed; o = o->next)
		if (strcmp(o->resource, resource.at) == 0)
			break;
	if (!o && !resource.failed && !labels.failed)
		o = calloc(1, sizeof(*o));
	if (!o || o->refs) {
		buffer_free(&resource);
		buffer_free(&labels);
		return o ? origin_share(o) : NULL;
	}
	memcpy(o->service, service, sizeof(service));
	o->resource = resource.at;
	o->labels = labels.at;
	o->next = origins;
	origins = o;
	return origin_share(o);
}

struct origin *origin_share(struct origin *o)
{
	o->refs++;
	return o;
}

void origin_drop(struct origin *o)
{
	struct origin **at = &origins;

	if (!o || --o->refs)
		return;
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	free(o->resource);
	free(o->labels);
	free(o);
}

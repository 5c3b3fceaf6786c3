/*
 * Others' files, so nothing is believed: what is missing or of another type is left empty, numbers may be numbers or strings
 * (OTLP's JSON has 64-bit ones as strings). cJSON keeps a whole line in memory; a line is one batch.
 */
#include "otlp_file.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* Of a service's name, which stands in the file once for many items: what is copied with each must not be as long as it likes. */
enum { SERVICE_SIZE = 256 };

static const char *string_of(const cJSON *object, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsString(value) ? value->valuestring : "";
}

static uint64_t number_of(const cJSON *object, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

	if (cJSON_IsString(value))
		return strtoull(value->valuestring, NULL, 10);
	return cJSON_IsNumber(value) && value->valuedouble > 0 && value->valuedouble < 1.8e19 ?
	               (uint64_t)value->valuedouble :
	               0;
}

/* The value of an attribute, or NULL. */
static const cJSON *attribute(const cJSON *object, const char *key)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "attributes"), *entry;

	for (entry = list ? list->child : NULL; entry; entry = entry->next)
		if (strcmp(string_of(entry, "key"), key) == 0)
			return cJSON_GetObjectItemCaseSensitive(entry, "value");
	return NULL;
}

static const char *attribute_text(const cJSON *object, const char *key)
{
	return string_of(attribute(object, key), "stringValue");
}

/* An id is hex, or it is none. */
static void read_id(char *id, size_t size, const char *text)
{
	if (strlen(text) == size - 1 && strspn(text, "0123456789abcdefABCDEF") == size - 1 &&
	    strspn(text, "0") != size - 1)
		for (size_t i = 0; i < size; i++)
			id[i] = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] | 0x20) : text[i];
	else
		id[0] = '\0';
}

static void read_ids(struct otlp_item *item, const cJSON *object)
{
	read_id(item->trace, sizeof(item->trace), string_of(object, "traceId"));
	read_id(item->span, sizeof(item->span), string_of(object, "spanId"));
	read_id(item->parent, sizeof(item->parent), string_of(object, "parentSpanId"));
}

static void visit_span(const cJSON *span, char *service, otlp_file_visit *visit, void *owner)
{
	const char *where = attribute_text(span, "url.path"), *error = attribute_text(span, "error.type");
	struct otlp_item item = { .start_ns = number_of(span, "startTimeUnixNano"),
		                  .end_ns = number_of(span, "endTimeUnixNano"),
		                  .kind = (int)number_of(span, "kind"),
		                  .error = number_of(cJSON_GetObjectItemCaseSensitive(span, "status"), "code") == 2,
		                  .status =
		                          (unsigned)number_of(attribute(span, "http.response.status_code"), "intValue"),
		                  .service = service,
		                  .text = (char *)string_of(span, "name") };
	char detail[1200];

	if (item.kind < 1 || item.kind > 5)
		item.kind = 1;
	if (item.end_ns < item.start_ns)
		item.end_ns = item.start_ns;
	if (!*where)
		where = attribute_text(span, "url.full");
	/* An error.type that is the status adds nothing. */
	if (*error >= '0' && *error <= '9')
		error = "";
	snprintf(detail, sizeof(detail), "%.1000s%s%.100s", where, *error ? " " : "", error);
	item.detail = detail;
	read_ids(&item, span);
	visit(owner, &item);
}

static void visit_line(const cJSON *line, char *service, otlp_file_visit *visit, void *owner)
{
	const char *severity = string_of(line, "severityText");
	uint64_t time = number_of(line, "timeUnixNano");
	struct otlp_item item = { .service = service,
		                  .text = (char *)string_of(cJSON_GetObjectItemCaseSensitive(line, "body"),
		                                            "stringValue"),
		                  .detail = (char *)"" };

	item.start_ns = item.end_ns = time ? time : number_of(line, "observedTimeUnixNano");
	text_clean(item.severity, sizeof(item.severity), severity, strlen(severity));
	read_ids(&item, line);
	visit(owner, &item);
}

static void visit_resource(const cJSON *resource, bool spans, otlp_file_visit *visit, void *owner)
{
	const cJSON *scopes = cJSON_GetObjectItemCaseSensitive(resource, spans ? "scopeSpans" : "scopeLogs"), *scope,
		    *entry;
	char service[SERVICE_SIZE];

	snprintf(service, sizeof(service), "%.*s", SERVICE_SIZE - 1,
	         attribute_text(cJSON_GetObjectItemCaseSensitive(resource, "resource"), "service.name"));
	for (scope = scopes ? scopes->child : NULL; scope; scope = scope->next) {
		const cJSON *entries = cJSON_GetObjectItemCaseSensitive(scope, spans ? "spans" : "logRecords");

		for (entry = entries ? entries->child : NULL; entry; entry = entry->next) {
			if (spans)
				visit_span(entry, service, visit, owner);
			else
				visit_line(entry, service, visit, owner);
		}
	}
}

bool otlp_file_read_line(const char *line, size_t len, otlp_file_visit *visit, void *owner)
{
	cJSON *root = cJSON_ParseWithLength(line, len);
	const cJSON *spans = cJSON_GetObjectItemCaseSensitive(root, "resourceSpans"), *resource;
	const cJSON *lines = cJSON_GetObjectItemCaseSensitive(root, "resourceLogs");
	bool known = cJSON_IsArray(spans) || cJSON_IsArray(lines);

	for (resource = spans ? spans->child : NULL; resource; resource = resource->next)
		visit_resource(resource, true, visit, owner);
	for (resource = lines ? lines->child : NULL; resource; resource = resource->next)
		visit_resource(resource, false, visit, owner);
	cJSON_Delete(root);
	return known;
}

bool otlp_item_copy(struct otlp_item *to, const struct otlp_item *from)
{
	*to = *from;
	to->service = strdup(from->service);
	to->text = strdup(from->text);
	to->detail = strdup(from->detail);
	if (to->service && to->text && to->detail)
		return true;
	otlp_item_free(to);
	return false;
}

void otlp_item_free(struct otlp_item *item)
{
	free(item->service);
	free(item->text);
	free(item->detail);
}

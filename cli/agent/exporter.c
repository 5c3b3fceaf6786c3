/*
 * A line of requests. Each is written to the spool when it comes and removed when it is done with, so an agent that is killed
 * loses none; the first in line are in memory besides (struct request), as many as the queue may hold, so that a back end that keeps
 * up costs no reading. One request is on its way at a time; so a trace's spans arrive in order, and a request that fails holds up
 * the rest instead of being overtaken. Where the disk takes nothing, memory has to do, as long as it lasts.
 *
 * What is tried again: 429, 502, 503, 504, and everything that is not an answer (refused, cut, timed out, not HTTP). Delays
 * double from retry_ms to 32 times that, each drawn from its upper half, so that many agents do not come back at once; a
 * Retry-After is obeyed instead (up to an hour). What is not tried again: any other answer; its items are counted as refused.
 * A request at which a back end breaks off each time would hold up the line for ever: after CUTS_MAX times in a row an empty one is
 * sent instead, and where that is answered twice while the request between is cut off again, it is the request's fault, and it is
 * dropped. A back end that cannot be reached, says that it is busy, or is silent, is waited for without end.
 * What goes on (a back end that is down, a full disk) is told once when it begins and once when it ends; what is refused or wrong, once.
 *
 * Memory: queue_items items and MEMORY_MAX bytes, and the request on its way.
 */
#include "exporter.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#include "spool.h"
#include "../text.h"

enum { MEMORY_MAX = 16 * 1024 * 1024, ANSWER_MAX = 64 * 1024, RETRY_AFTER_MAX_S = 3600, DELAY_DOUBLINGS = 5 };
enum { CUTS_MAX = 5, PROOFS_MAX = 2 };

struct request {
	struct request *next;
	uint64_t number; /* place in the order */
	size_t len;
	unsigned items;
	bool spooled; /* on disk as well */
	char bytes[];
};

/* What has been told, and not taken back. */
enum trouble {
	TROUBLE_UNREACHABLE = 1,
	TROUBLE_REFUSED = 2,
	TROUBLE_PARTIAL = 4,
	TROUBLE_SPOOL = 8,
	TROUBLE_DROPPED = 16,
	TROUBLE_WARNED = 32,
	TROUBLE_POISON = 64
};

struct exporter {
	struct exporter_settings s;
	struct exporter_counts counts;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers, *headers_gzip;
	struct request *first, **last;
	unsigned memory_items;
	size_t memory_bytes;
	struct spool spool;
	uint64_t next;         /* number */
	struct request *sent;  /* on its way, or to be tried again */
	size_t unread;         /* requests that are on disk only */
	bool on_its_way, asks; /* asks: it is the empty one */
	unsigned attempts;
	unsigned cuts,
		proofs; /* times that the request was cut off; of these, times between which the empty one was answered */
	bool answers;   /* the empty one just was */
	uint64_t due_ns;
	unsigned told;
	char *answer;
	size_t answer_len;
	char error[CURL_ERROR_SIZE];
};

static void exporter_tell(struct exporter *e, enum trouble trouble, const char *what)
{
	if (e->told & trouble)
		return;
	e->told |= trouble;
	text_error("agent: %s to %s: %s", e->s.name, e->s.url, what);
}

static size_t exporter_receive(char *bytes, size_t size, size_t count, void *owner)
{
	struct exporter *e = owner;
	size_t len = size * count, room = ANSWER_MAX - e->answer_len;

	/* Of a longer one the begin is enough: whoever goes on and on has answered all the same (exporter_done). */
	if (room == 0)
		return 0;
	if (len > room)
		len = room;
	memcpy(e->answer + e->answer_len, bytes, len);
	e->answer_len += len;
	return size * count;
}

static bool exporter_add_header(struct exporter *e, const char *header)
{
	struct curl_slist *plain = curl_slist_append(e->headers, header);
	struct curl_slist *gzip = curl_slist_append(e->headers_gzip, header);

	e->headers = plain ? plain : e->headers;
	e->headers_gzip = gzip ? gzip : e->headers_gzip;
	return plain && gzip;
}

static bool exporter_set(struct exporter *e)
{
	const struct exporter_settings *s = &e->s;
	struct curl_slist *gzip;
	bool ok = exporter_add_header(e, "Content-Type: application/json") && exporter_add_header(e, "Expect:");

	for (size_t i = 0; ok && s->headers && s->headers[i]; i++)
		ok = exporter_add_header(e, s->headers[i]);
	gzip = curl_slist_append(e->headers_gzip, "Content-Encoding: gzip");
	ok = ok && gzip;
	e->headers_gzip = gzip ? gzip : e->headers_gzip;
	ok = ok && curl_easy_setopt(e->easy, CURLOPT_URL, s->url) == CURLE_OK;
	ok = ok && curl_easy_setopt(e->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
	curl_easy_setopt(e->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(e->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e->easy, CURLOPT_USERAGENT, "traceshim/" TRACESHIM_VERSION);
	curl_easy_setopt(e->easy, CURLOPT_TIMEOUT_MS, (long)s->timeout_ms);
	curl_easy_setopt(e->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)s->timeout_ms);
	curl_easy_setopt(e->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e->easy, CURLOPT_WRITEFUNCTION, exporter_receive);
	curl_easy_setopt(e->easy, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(e->easy, CURLOPT_ERRORBUFFER, e->error);
	curl_easy_setopt(e->easy, CURLOPT_PRIVATE, e);
	if (s->certificate)
		ok = ok && curl_easy_setopt(e->easy, CURLOPT_CAINFO, s->certificate) == CURLE_OK;
	if (s->client_certificate)
		ok = ok && curl_easy_setopt(e->easy, CURLOPT_SSLCERT, s->client_certificate) == CURLE_OK;
	if (s->client_key)
		ok = ok && curl_easy_setopt(e->easy, CURLOPT_SSLKEY, s->client_key) == CURLE_OK;
	return ok;
}

struct exporter *exporter_open(CURLM *multi, const struct exporter_settings *settings)
{
	struct exporter *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->s = *settings;
	e->multi = multi;
	e->last = &e->first;
	e->easy = curl_easy_init();
	e->answer = malloc(ANSWER_MAX + 1);
	e->spool.dir = -1;
	if (!e->easy || !e->answer || !exporter_set(e) ||
	    (settings->spool_dir >= 0 &&
	     !spool_open(&e->spool, settings->spool_dir, settings->name, settings->spool_bytes))) {
		text_error("agent: the export of %s to %s cannot be set up", settings->name, settings->url);
		(void)exporter_close(e);
		return NULL;
	}
	e->next = e->spool.next;
	e->unread = e->spool.count;
	for (size_t i = 0; i < e->spool.count; i++)
		e->counts.waiting += e->spool.entries[i].items;
	return e;
}

/* A request's bytes as they will be sent: compressed where that is wanted. */
static struct request *exporter_pack(const struct exporter *e, const void *bytes, size_t len, unsigned items)
{
	size_t room = e->s.gzip ? compressBound(len) + 32 : len;
	struct request *r = malloc(sizeof(*r) + room), *shrunk;
	z_stream z = { .next_in = (Bytef *)bytes, .avail_in = (uInt)len };

	if (!r)
		return NULL;
	*r = (struct request){ .items = items, .len = len };
	if (!e->s.gzip) {
		memcpy(r->bytes, bytes, len);
		return r;
	}
	/* Level 1: the texts repeat themselves so much that more effort gains little. 16: gzip's frame. */
	if (deflateInit2(&z, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(r);
		return NULL;
	}
	z.next_out = (Bytef *)r->bytes;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
		deflateEnd(&z);
		free(r);
		return NULL;
	}
	r->len = room - z.avail_out;
	deflateEnd(&z);
	shrunk = realloc(r, sizeof(*r) + r->len);
	if (shrunk)
		r = shrunk;
	return r;
}

static void exporter_drop(struct exporter *e, unsigned items, const char *why)
{
	char what[160];

	e->counts.dropped += items;
	snprintf(what, sizeof(what), "%s; what comes now is lost and counted", why);
	exporter_tell(e, TROUBLE_DROPPED, what);
}

static void exporter_keep(struct exporter *e, struct request *r)
{
	r->next = NULL;
	*e->last = r;
	e->last = &r->next;
	e->memory_items += r->items;
	e->memory_bytes += r->len;
	e->counts.waiting += r->items;
}

static enum spool_result exporter_spool(struct exporter *e, struct request *r)
{
	enum spool_result result =
		e->spool.dir < 0 ? SPOOL_FULL : spool_add(&e->spool, r->bytes, r->len, r->items, r->number);
	char what[160];

	r->spooled = result == SPOOL_OK;
	if (result == SPOOL_FAILED) {
		snprintf(what, sizeof(what), "requests cannot be kept on disk: %s", strerror(errno));
		exporter_tell(e, TROUBLE_SPOOL, what);
	} else if (r->spooled && e->told & TROUBLE_SPOOL) {
		e->told &= ~(unsigned)TROUBLE_SPOOL;
		text_error("agent: %s to %s: requests are kept on disk again", e->s.name, e->s.url);
	}
	return result;
}

void exporter_take(struct exporter *e, const void *bytes, size_t len, unsigned items)
{
	struct request *r = exporter_pack(e, bytes, len, items);
	enum spool_result result;

	if (!r) {
		exporter_drop(e, items, "there is no memory");
		return;
	}
	r->number = e->next++;
	result = exporter_spool(e, r);
	/* Only the begin of the line may be in memory, or the order would be lost. A first request is always taken. */
	if (!e->unread && (!e->first || e->memory_items + items <= e->s.queue_items) &&
	    e->memory_bytes + r->len <= MEMORY_MAX) {
		exporter_keep(e, r);
		return;
	}
	if (result == SPOOL_OK) {
		e->unread++;
		e->counts.waiting += items;
	} else if (result == SPOOL_FULL && e->spool.dir >= 0) {
		exporter_drop(e, items, "the spool is full");
	} else if (!e->unread && e->memory_bytes + r->len <= MEMORY_MAX) {
		exporter_keep(e, r);
		return;
	} else {
		exporter_drop(e, items, "there is no more room for what waits");
	}
	free(r);
}

/* The next in line is to be sent. */
static bool exporter_fetch(struct exporter *e)
{
	struct request *r = e->first;
	size_t len = 0;
	void *bytes;

	e->attempts = e->cuts = e->proofs = 0;
	e->answers = false;
	if (r) {
		e->first = r->next;
		if (!e->first)
			e->last = &e->first;
		e->memory_items -= r->items;
		e->memory_bytes -= r->len;
		e->sent = r;
		return true;
	}
	while (e->unread) {
		const struct spool_entry *entry = spool_oldest(&e->spool);

		e->unread--;
		bytes = spool_read(&e->spool, &len);
		r = bytes ? malloc(sizeof(*r) + len) : NULL;
		if (r) {
			*r = (struct request){
				.len = len, .items = entry->items, .number = entry->number, .spooled = true
			};
			memcpy(r->bytes, bytes, len);
			free(bytes);
			e->sent = r;
			return true;
		}
		free(bytes);
		e->counts.waiting -= entry->items;
		exporter_drop(e, entry->items, "a request on disk cannot be read");
		spool_remove(&e->spool);
	}
	return false;
}

int exporter_step(struct exporter *e, uint64_t now_ns)
{
	const char *bytes;
	size_t len;
	bool gzip;

	if (e->on_its_way)
		return -1;
	if (!e->sent && !exporter_fetch(e))
		return -1;
	if (e->attempts && now_ns < e->due_ns)
		return (int)((e->due_ns - now_ns) / 1000000) + 1;
	e->asks = e->cuts >= CUTS_MAX && !e->answers;
	bytes = e->asks ? e->s.empty : e->sent->bytes;
	len = e->asks ? strlen(e->s.empty) : e->sent->len;
	/* What is on disk may have been packed under another setting. */
	gzip = len > 2 && memcmp(bytes, "\x1f\x8b", 2) == 0;
	e->answer_len = 0;
	e->error[0] = '\0';
	curl_easy_setopt(e->easy, CURLOPT_HTTPHEADER, gzip ? e->headers_gzip : e->headers);
	curl_easy_setopt(e->easy, CURLOPT_POSTFIELDS, bytes);
	curl_easy_setopt(e->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	e->on_its_way = curl_multi_add_handle(e->multi, e->easy) == CURLM_OK;
	return e->on_its_way ? -1 : 1000;
}

static void exporter_finish(struct exporter *e)
{
	e->counts.waiting -= e->sent->items;
	if (e->sent->spooled)
		spool_remove(&e->spool);
	free(e->sent);
	e->sent = NULL;
	e->attempts = 0;
}

/* Taken: all of it, or what the answer says. */
static void exporter_accept(struct exporter *e)
{
	const cJSON *partial, *rejected, *message;
	uint64_t refused = 0;
	cJSON *answer;
	char what[400];

	e->answer[e->answer_len] = '\0';
	answer = cJSON_ParseWithLength(e->answer, e->answer_len);
	partial = cJSON_GetObjectItemCaseSensitive(answer, "partialSuccess");
	rejected = cJSON_GetObjectItemCaseSensitive(partial, "rejectedSpans");
	if (!rejected)
		rejected = cJSON_GetObjectItemCaseSensitive(partial, "rejectedLogRecords");
	if (cJSON_IsString(rejected))
		refused = strtoull(rejected->valuestring, NULL, 10);
	else if (cJSON_IsNumber(rejected) && rejected->valuedouble > 0)
		refused = (uint64_t)rejected->valuedouble;
	if (refused > e->sent->items)
		refused = e->sent->items;
	e->counts.refused += refused;
	e->counts.sent += e->sent->items - refused;
	message = cJSON_GetObjectItemCaseSensitive(partial, "errorMessage");
	if (refused) {
		snprintf(what, sizeof(what), "the back end refused a part (%llu of %u %s): %.200s",
		         (unsigned long long)refused, e->sent->items, e->s.items,
		         cJSON_IsString(message) ? message->valuestring : "");
		exporter_tell(e, TROUBLE_PARTIAL, what);
	} else if (cJSON_IsString(message) && *message->valuestring) {
		snprintf(what, sizeof(what), "the back end warns: %.200s", message->valuestring);
		exporter_tell(e, TROUBLE_WARNED, what);
	}
	cJSON_Delete(answer);
	if (e->told & TROUBLE_UNREACHABLE)
		text_error("agent: %s to %s: the back end answers again; %llu %s wait", e->s.name, e->s.url,
		           (unsigned long long)(e->counts.waiting - e->sent->items), e->s.items);
	e->told &= ~(unsigned)(TROUBLE_UNREACHABLE | TROUBLE_DROPPED);
	exporter_finish(e);
}

static void exporter_refuse(struct exporter *e, long status)
{
	char what[400];

	e->answer[e->answer_len < 200 ? e->answer_len : 200] = '\0';
	snprintf(what, sizeof(what),
	         "the back end answers %ld, and %u %s are lost (such are counted, not repeated): %s", status,
	         e->sent->items, e->s.items, e->answer);
	exporter_tell(e, TROUBLE_REFUSED, what);
	e->counts.refused += e->sent->items;
	exporter_finish(e);
}

static void exporter_repeat(struct exporter *e, const char *why, long after_s, uint64_t now_ns)
{
	uint64_t delay_ns = (uint64_t)e->s.retry_ms * 1000000;
	uint32_t random = 0;
	char what[400];

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	delay_ns <<= e->attempts < DELAY_DOUBLINGS ? e->attempts : DELAY_DOUBLINGS;
	delay_ns = delay_ns / 2 + delay_ns / 2 * (random % 1024) / 1024;
	if (after_s > 0)
		delay_ns = (uint64_t)(after_s < RETRY_AFTER_MAX_S ? after_s : RETRY_AFTER_MAX_S) * 1000000000;
	e->attempts++;
	e->counts.retries++;
	e->due_ns = now_ns + delay_ns;
	snprintf(what, sizeof(what), "%s; it is tried again, and what comes waits", why);
	exporter_tell(e, TROUBLE_UNREACHABLE, what);
}

/* The connection was there, and the request, or a part of it, gone out: the other end broke off. */
static bool exporter_was_cut(const struct exporter *e, CURLcode result, long status)
{
	long went_out = 0;

	curl_easy_getinfo(e->easy, CURLINFO_REQUEST_SIZE, &went_out);
	return status == 502 || (result != CURLE_OK && result != CURLE_OPERATION_TIMEDOUT && went_out > 0);
}

/* It failed, and may be tried again. False: it is the request that is at fault, and it is given up. */
static bool exporter_judge(struct exporter *e, bool cut)
{
	char what[160];

	if (!cut || e->asks) { /* it is the back end that is in trouble */
		e->cuts = cut ? e->cuts : 0;
		e->proofs = 0;
		return true;
	}
	e->cuts += e->cuts < CUTS_MAX;
	e->proofs += e->answers;
	e->answers = false;
	if (e->proofs < PROOFS_MAX)
		return true;
	snprintf(what, sizeof(what),
	         "the back end breaks off at a request each time, and answers others; it is dropped (%u %s)",
	         e->sent->items, e->s.items);
	exporter_tell(e, TROUBLE_POISON, what);
	e->counts.dropped += e->sent->items;
	exporter_finish(e);
	return false;
}

void exporter_done(struct exporter *e, CURLcode result, uint64_t now_ns)
{
	bool again, cut;
	curl_off_t after = 0;
	long status = 0;
	char why[64];

	curl_easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(e->easy, CURLINFO_RETRY_AFTER, &after);
	if (result == CURLE_WRITE_ERROR)
		result = CURLE_OK; /* exporter_receive had enough of the answer */
	cut = exporter_was_cut(e, result, status);
	again = result != CURLE_OK || status == 429 || (status >= 502 && status <= 504);
	curl_multi_remove_handle(e->multi, e->easy);
	e->on_its_way = false;
	if (again) {
		snprintf(why, sizeof(why), "the back end answers %ld", status);
		if (exporter_judge(e, cut))
			exporter_repeat(e,
			                result == CURLE_OK ? why :
			                e->error[0]        ? e->error :
			                                     curl_easy_strerror(result),
			                (long)after, now_ns);
	} else if (e->asks) { /* whatever it says: it speaks */
		e->answers = true;
		e->due_ns = now_ns;
	} else if (status >= 200 && status < 300) {
		exporter_accept(e);
	} else {
		exporter_refuse(e, status);
	}
}

bool exporter_is_idle(const struct exporter *e)
{
	return !e->sent && !e->first && !e->unread;
}

const struct exporter_counts *exporter_counts(const struct exporter *e)
{
	return &e->counts;
}

/* What is in memory only goes to disk. Its numbers say where it belongs: the next agent sends it in its place. */
static void exporter_save(struct exporter *e)
{
	struct request *r;

	if (e->sent) {
		e->sent->next = e->first;
		e->first = e->sent;
	}
	e->sent = NULL;
	while ((r = e->first)) {
		e->first = r->next;
		if (!r->spooled && exporter_spool(e, r) != SPOOL_OK) {
			e->counts.waiting -= r->items;
			exporter_drop(e, r->items, "what could not be sent cannot be kept either");
		}
		free(r);
	}
}

uint64_t exporter_close(struct exporter *e)
{
	uint64_t left;

	if (e->on_its_way)
		curl_multi_remove_handle(e->multi, e->easy);
	exporter_save(e);
	left = e->counts.waiting;
	curl_easy_cleanup(e->easy);
	curl_slist_free_all(e->headers);
	curl_slist_free_all(e->headers_gzip);
	if (e->spool.dir >= 0)
		spool_close(&e->spool);
	free(e->answer);
	free(e);
	return left;
}

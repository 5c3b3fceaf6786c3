/*
 * Spans of what Node serves and calls; see node_spans.h.
 *
 * JavaScript puts the numbers of a span that is finished into an array of both sides, and calls span() once, with its texts as
 * one string whose parts' lengths are among the numbers. From that a ring_span is made in memory of ours, and copied into this
 * thread's ring. JavaScript's own times are milliseconds since its environment began; how far that is from the monotonic
 * clock is measured once.
 *
 * A response is over for its client before JavaScript comes to say so. So the span of a response that is about to end is
 * held (ring.h), and settled when the write is done; then the record is still here, should the ring have let go of it.
 *
 * The ids of a call are chosen when its head is made, and are known to JavaScript as a few bytes in front of the head lines
 * that it gets, which come back with the texts: so nothing has to be kept here for a call that never ends.
 *
 * Who may call: JavaScript, on its own thread. Memory: 9 KiB an environment, and room for a head and an insertion while one is
 * made.
 */
#include "libc_versions.h"
#include "real.h"

#include <netinet/in.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "managed.h"
#include "node_addon.h"
#include "node_spans.h"
#include "os.h"
#include "pool.h"
#include "request.h"
#include "ring.h"
#include "span.h"

/* The shared numbers. companion/spans.cjs has the same list. */
enum span_word {
	WORD_KIND,  /* enum ring_span_kind */
	WORD_START, /* milliseconds of the environment; also, once, what its clock says now (SPAN_CLOCK) */
	WORD_FIRST, /* 0: no byte of a response came */
	WORD_END,
	WORD_BYTES_IN, /* 0: not known */
	WORD_BYTES_OUT,
	WORD_STATUS,
	WORD_METHOD,  /* enum ring_method */
	WORD_VERSION, /* 10, 11, 20 */
	WORD_ERROR,   /* enum ring_span_error */
	WORD_FLAGS,   /* RING_FLAG_TLS, _TRUNCATED, _UPGRADED, and what peer() said */
	WORD_PEER_PORT,
	WORD_PEER,                 /* four numbers of 32 bits */
	WORD_TEXT = WORD_PEER + 4, /* lengths, in the order of enum ring_span_text */
	WORD_COUNT = WORD_TEXT + RING_TEXT_COUNT
};

/* What span() is to do. */
enum span_how {
	SPAN_PUSH,   /* it is finished */
	SPAN_HOLD,   /* it is, if the process dies now */
	SPAN_SETTLE, /* what was held is finished: FIRST, END, BYTES, STATUS and ERROR may be others now */
	SPAN_DROP,   /* what was held is not */
	SPAN_CLOCK   /* START is what the environment's clock says */
};

#define FLAGS_TOLD (RING_FLAG_TLS | RING_FLAG_TRUNCATED | RING_FLAG_UPGRADED | RING_FLAG_PEER | RING_FLAG_PEER_V6)
#define TEXT_ROOM (RING_TEXT_COUNT * RING_TEXT_LIMIT)
/* Trace, span, parent and flags of a call; and behind them the length of its tracestate, two bytes. */
#define IDS_LEN 33u
#define CALL_PREFIX (IDS_LEN + 2u)
#define HEAD_ROOM (64u * 1024)

struct node_spans {
	uint32_t pool_word;
	double *words;
	uint64_t zero_ns;  /* when the environment's clock said 0 */
	uint64_t start_ns; /* of the record, by the monotonic clock */
	uint64_t ticket;   /* of what is held */
	struct ring_span record;
	char text[IDS_LEN + TEXT_ROOM + 1];
};
POOL(environments, sizeof(struct node_spans), 1);

/* Room for one call's head, and for what is told of it. */
struct call_room {
	uint32_t pool_word;
	struct managed_called called;
	char head[HEAD_ROOM];
	char out[CALL_PREFIX + LIMIT_TRACESTATE + LIMIT_INJECTION];
};
POOL(call_rooms, sizeof(struct call_room), 1);

static __thread struct node_spans *own __attribute__((tls_model("initial-exec")));

/* What JavaScript says is believed for nothing but numbers. */
static uint64_t whole(double value, uint64_t most)
{
	return value >= 1 && value < 9e15 ? (uint64_t)value < most ? (uint64_t)value : most : 0;
}

static uint64_t moment(const struct node_spans *spans, enum span_word word)
{
	return spans->zero_ns + whole(spans->words[word] * 1e6, (uint64_t)1 << 62);
}

/* The monotonic clock's time as the day's, by the difference that the record began with. */
static uint64_t told(const struct node_spans *spans, uint64_t when)
{
	return when > spans->start_ns ? spans->record.start_ns + (when - spans->start_ns) : spans->record.start_ns;
}

/* What may change while it is held, too. */
static void take_end(struct node_spans *spans)
{
	struct ring_span *record = &spans->record;
	const double *words = spans->words;

	record->end_ns = told(spans, moment(spans, WORD_END));
	record->first_byte_ns = words[WORD_FIRST] > 0 ? told(spans, moment(spans, WORD_FIRST)) : 0;
	record->bytes_in = whole(words[WORD_BYTES_IN], UINT64_MAX);
	record->bytes_out = whole(words[WORD_BYTES_OUT], UINT64_MAX);
	record->status = (uint16_t)whole(words[WORD_STATUS], 999);
	record->error = (uint8_t)whole(words[WORD_ERROR], RING_ERROR_COUNT - 1);
}

static void take_numbers(struct node_spans *spans)
{
	struct ring_span *record = &spans->record;
	const double *words = spans->words;
	uint64_t end_ns = moment(spans, WORD_END);
	int i;

	memset(record, 0, sizeof(*record));
	spans->start_ns = moment(spans, WORD_START);
	record->start_ns = span_day_time(end_ns) - (end_ns > spans->start_ns ? end_ns - spans->start_ns : 0);
	record->span_kind = words[WORD_KIND] == RING_SPAN_CLIENT ? RING_SPAN_CLIENT : RING_SPAN_SERVER;
	record->method = (uint8_t)whole(words[WORD_METHOD], RING_METHOD_COUNT - 1);
	record->version = (uint8_t)whole(words[WORD_VERSION], UINT8_MAX);
	record->flags = (uint32_t)whole(words[WORD_FLAGS], UINT32_MAX) & FLAGS_TOLD;
	record->peer_port = (uint16_t)whole(words[WORD_PEER_PORT], UINT16_MAX);
	record->tid = (uint32_t)os_tid();
	for (i = 0; i < 4; i++) {
		uint32_t part = (uint32_t)whole(words[WORD_PEER + i], UINT32_MAX);

		memcpy(record->peer + 4 * i, &part, sizeof(part));
	}
	take_end(spans);
}

static bool take_texts(struct node_spans *spans, size_t len)
{
	size_t sum = 0;
	int i;

	for (i = 0; i < RING_TEXT_COUNT; i++) {
		size_t part = whole(spans->words[WORD_TEXT + i], RING_TEXT_LIMIT);

		spans->record.text[i] = (uint16_t)part;
		sum += part;
	}
	return sum == len;
}

/* A request that is served has the ids of its lines; its tracestate goes behind the texts, where it is the last one. */
static bool take_request(struct node_spans *spans, int32_t slot, size_t *len)
{
	const struct request *request = managed_request(slot);
	const struct trace_context *ctx;
	struct ring_span *record = &spans->record;

	if (request == NULL)
		return false;
	ctx = &request->ctx;
	memcpy(record->trace_id, ctx->trace_id, sizeof(record->trace_id));
	memcpy(record->span_id, ctx->span_id, sizeof(record->span_id));
	memcpy(record->parent_id, ctx->parent_id, sizeof(record->parent_id));
	record->flags |= (ctx->flags & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM)) | (ctx->remote ? RING_FLAG_REMOTE : 0);
	_Static_assert(RING_TEXT_TRACESTATE == RING_TEXT_COUNT - 1, "it is the last text");
	if (ctx->tracestate.len > 0 && ctx->tracestate.len <= RING_TEXT_LIMIT &&
	    record->text[RING_TEXT_TRACESTATE] == 0) {
		record->text[RING_TEXT_TRACESTATE] = ctx->tracestate.len;
		memcpy(spans->text + IDS_LEN + *len, ctx->text.data + ctx->tracestate.off, ctx->tracestate.len);
		*len += ctx->tracestate.len;
	}
	return true;
}

static void take_ids(struct node_spans *spans)
{
	struct ring_span *record = &spans->record;

	memcpy(record->trace_id, spans->text, 16);
	memcpy(record->span_id, spans->text + 16, 8);
	memcpy(record->parent_id, spans->text + 24, 8);
	record->flags |= (uint8_t)spans->text[32] & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM | RING_FLAG_LOCAL);
}

/* The record out of the numbers and `text`; false: it makes none. */
static bool take_span(napi_env env, struct node_spans *spans, int32_t slot, napi_value text)
{
	bool call = spans->words[WORD_KIND] == RING_SPAN_CLIENT;
	char *to = call ? spans->text : spans->text + IDS_LEN;
	size_t room = sizeof(spans->text) - (size_t)(to - spans->text), len = 0;

	spans->record.entry.size = 0;
	if (napi.napi_get_value_string_latin1(env, text, to, room, &len) != 0)
		return false;
	if (call && len < IDS_LEN)
		return false;
	len -= call ? IDS_LEN : 0;
	take_numbers(spans);
	if (!take_texts(spans, len))
		return false;
	if (call)
		take_ids(spans);
	else if (!take_request(spans, slot, &len))
		return false;
	spans->record.entry.size = (uint32_t)(sizeof(struct ring_span) + len);
	return true;
}

static bool write_entry(const struct node_spans *spans, struct ring_entry_place *place, bool held)
{
	const struct ring_span *record = &spans->record;
	size_t size = record->entry.size;
	char *out;

	if (size == 0)
		return false;
	out = (held ? ring_begin_held : ring_begin)(place, RING_SPAN, sizeof(*record), size);
	if (out == NULL)
		return false;
	memcpy(out + sizeof(record->entry), (const char *)record + sizeof(record->entry),
	       sizeof(*record) - sizeof(record->entry));
	memcpy(out + sizeof(*record), spans->text + IDS_LEN, size - sizeof(*record));
	return true;
}

static void push(struct node_spans *spans)
{
	struct ring_entry_place place;

	if (!write_entry(spans, &place, false))
		return;
	ring_publish(&place);
	counters_count(spans);
}

static void hold(struct node_spans *spans)
{
	struct ring_entry_place place;

	spans->ticket = write_entry(spans, &place, true) ? ring_hold(&place) : 0;
}

static void settle(struct node_spans *spans)
{
	const struct ring_span *record = &spans->record;
	struct ring_patch patch[5];
	uint64_t ticket = spans->ticket, answer;

	spans->ticket = 0;
	if (record->entry.size == 0)
		return;
	take_end(spans);
	_Static_assert(offsetof(struct ring_span, status) % 8 == 0, "a word of its own");
	memcpy(&answer, &record->status, sizeof(answer));
	patch[0] = (struct ring_patch){ offsetof(struct ring_span, first_byte_ns), record->first_byte_ns };
	patch[1] = (struct ring_patch){ offsetof(struct ring_span, end_ns), record->end_ns };
	patch[2] = (struct ring_patch){ offsetof(struct ring_span, bytes_out), record->bytes_out };
	patch[4] = (struct ring_patch){ offsetof(struct ring_span, bytes_in), record->bytes_in };
	patch[3] = (struct ring_patch){ offsetof(struct ring_span, status), answer };
	if (ring_settle(ticket, patch, sizeof(patch) / sizeof(patch[0]), true))
		counters_count(spans);
	else
		push(spans);
}

static bool get_arguments(napi_env env, napi_info info, napi_value *argv, size_t count)
{
	size_t got = count;

	return napi.napi_get_cb_info(env, info, &got, argv, NULL, NULL) == 0 && got >= count;
}

/* span(how, slot, text): see enum span_how. The slot counts for what was served, the text begins with a call's ids. */
static napi_value span(napi_env env, napi_info info)
{
	struct node_spans *spans = own;
	napi_value argv[3];
	int32_t how, slot;

	if (spans == NULL || !get_arguments(env, info, argv, 3) || napi.napi_get_value_int32(env, argv[0], &how) != 0 ||
	    napi.napi_get_value_int32(env, argv[1], &slot) != 0)
		return NULL;
	switch (how) {
	case SPAN_PUSH:
		if (take_span(env, spans, slot, argv[2]))
			push(spans);
		break;
	case SPAN_HOLD:
		if (take_span(env, spans, slot, argv[2]))
			hold(spans);
		break;
	case SPAN_SETTLE: settle(spans); break;
	case SPAN_DROP:
		(void)ring_settle(spans->ticket, NULL, 0, false);
		spans->ticket = 0;
		break;
	case SPAN_CLOCK:
		spans->zero_ns = os_monotonic_ns() - whole(spans->words[WORD_START] * 1e6, (uint64_t)1 << 62);
		break;
	default: break;
	}
	return NULL;
}

/* Ids and tracestate, in front of the head lines. */
static size_t put_prefix(const struct managed_called *called, char *out)
{
	memcpy(out, called->ids.trace_id, 16);
	memcpy(out + 16, called->ids.span_id, 8);
	memcpy(out + 24, called->ids.parent_id, 8);
	out[32] = (char)called->ids.flags;
	out[33] = (char)(called->tracestate_len & 255);
	out[34] = (char)(called->tracestate_len >> 8);
	memcpy(out + CALL_PREFIX, called->tracestate, called->tracestate_len);
	return CALL_PREFIX + called->tracestate_len;
}

/*
 * calling(slot, fields, host): as call() of the add-on, but the head lines (or none) are behind what the call's span needs:
 * IDS_LEN bytes, two for the length of a tracestate, and that. undefined: it gets neither a span nor head lines.
 */
static napi_value calling(napi_env env, napi_info info)
{
	napi_value argv[3], result = NULL;
	char host[LIMIT_HEADER_NAME * 4];
	size_t len, host_len, prefix;
	struct call_room *room;
	int32_t slot;

	if (!get_arguments(env, info, argv, 3) || napi.napi_get_value_int32(env, argv[0], &slot) != 0 ||
	    napi.napi_get_value_string_latin1(env, argv[2], host, sizeof(host), &host_len) != 0 ||
	    (room = pool_take(&call_rooms)) == NULL)
		return NULL;
	if (napi.napi_get_value_string_latin1(env, argv[1], room->head, HEAD_ROOM, &len) == 0) {
		char *lines = room->out + CALL_PREFIX + LIMIT_TRACESTATE;

		len = managed_call(slot, room->head, len, host, host_len, lines, &room->called);
		if (room->called.known) {
			prefix = put_prefix(&room->called, room->out);
			memmove(room->out + prefix, lines, len);
			if (napi.napi_create_string_latin1(env, room->out, prefix + len, &result) != 0)
				result = NULL;
		}
	}
	pool_give(&call_rooms, room);
	return result;
}

/* adopt(slot): see managed_adopt. */
static napi_value adopt(napi_env env, napi_info info)
{
	napi_value argv[1];
	int32_t slot;

	if (get_arguments(env, info, argv, 1) && napi.napi_get_value_int32(env, argv[0], &slot) == 0)
		managed_adopt(slot);
	return NULL;
}

/* peer(fd): who is at the other end, into the shared numbers. FLAGS 0: that is not known, or not of the internet. */
static napi_value peer(napi_env env, napi_info info)
{
	struct node_spans *spans = own;
	napi_value argv[1];
	struct span_peer it;
	int32_t fd;
	int i;

	if (spans == NULL || !get_arguments(env, info, argv, 1) || napi.napi_get_value_int32(env, argv[0], &fd) != 0)
		return NULL;
	spans->words[WORD_FLAGS] = 0;
	if (!span_ask_peer(&it, fd) || !it.internet)
		return NULL;
	spans->words[WORD_FLAGS] = RING_FLAG_PEER | (it.v6 ? RING_FLAG_PEER_V6 : 0);
	spans->words[WORD_PEER_PORT] = it.port;
	for (i = 0; i < 4; i++) {
		uint32_t part;

		memcpy(&part, it.address + 4 * i, sizeof(part));
		spans->words[WORD_PEER + i] = part;
	}
	return NULL;
}

/* ---- registration ---- */

static bool add_functions(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback *call;
	} functions[] = { { "span", span }, { "calling", calling }, { "adopt", adopt }, { "peer", peer } };
	size_t i;

	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		napi_value function;

		if (napi.napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL,
		                              &function) != 0 ||
		    napi.napi_set_named_property(env, exports, functions[i].name, function) != 0)
			return false;
	}
	return true;
}

void node_spans_register(napi_env env, napi_value exports)
{
	napi_value buffer, array;
	napi_ref reference;
	void *words;

	if (own != NULL || !add_functions(env, exports) ||
	    napi.napi_create_arraybuffer(env, WORD_COUNT * sizeof(double), &words, &buffer) != 0 ||
	    napi.napi_create_typedarray(env, NAPI_FLOAT64_ARRAY, WORD_COUNT, buffer, 0, &array) != 0 ||
	    napi.napi_create_reference(env, array, 1, &reference) != 0 || (own = pool_take(&environments)) == NULL)
		return;
	memset(words, 0, WORD_COUNT * sizeof(double));
	own->words = words;
	own->ticket = 0;
	own->record.entry.size = 0;
	(void)napi.napi_set_named_property(env, exports, "spanWords", array); /* last: it says that all is there */
}

void node_spans_end(void)
{
	struct node_spans *spans = own;

	own = NULL;
	if (spans != NULL)
		pool_give(&environments, spans);
}

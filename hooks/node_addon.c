/*
 * What JavaScript may ask of us. Each function takes numbers, strings and buffers, returns one of these or undefined, throws
 * nothing, and keeps nothing of JavaScript's. Wrong arguments are answered with undefined: the caller is our own companion,
 * but any code in the process can reach an add-on.
 */
#include "libc_versions.h"
#include "real.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "ids.h"
#include "logfiles.h"
#include "managed.h"
#include "node_addon.h"
#include "node_spans.h"
#include "os.h"
#include "pool.h"
#include "propagate.h"

/* A head as text; longer ones are cut. Node's own limit is 16 KiB unless raised. */
#define HEAD_ROOM (64u * 1024)

struct napi_functions napi;

/* Room for one call: heads and records are too large for the stack. One per environment at a time, as JavaScript is. */
struct room {
	uint32_t pool_word;
	char head[HEAD_ROOM];
	char out[MANAGED_STAMP_ROOM];
};
POOL(rooms, sizeof(struct room), 1);

/* Find `count` functions, whose names lie one behind the other. false: one is missing. */
static bool find_functions(void *to, const char *name, size_t count)
{
	char *at = to;

	for (; count > 0; count--, at += sizeof(void *), name += strlen(name) + 1) {
		void *found = real_symbol(RTLD_DEFAULT, name);

		if (found == NULL)
			return false;
		memcpy(at, &found, sizeof(found));
	}
	return true;
}

bool node_addon_bind(void)
{
#define X(result, name, parameters) #name "\0"
	static const char names[] = NAPI_FUNCTIONS(X);
#undef X

	return find_functions(&napi, names, sizeof(napi) / sizeof(void *));
}

static bool get_arguments(napi_env env, napi_info info, napi_value *argv, size_t count)
{
	size_t got = count;

	return napi.napi_get_cb_info(env, info, &got, argv, NULL, NULL) == 0 && got >= count;
}

static napi_value number(napi_env env, int32_t value)
{
	napi_value result = NULL;

	(void)napi.napi_create_int32(env, value, &result);
	return result;
}

/* isLog(fd): what RECORD_* stream it is, or -1: its bytes are not log lines. */
static napi_value is_log(napi_env env, napi_info info)
{
	napi_value argv[1];
	uint64_t word;
	int32_t fd;

	if (!get_arguments(env, info, argv, 1) || napi.napi_get_value_int32(env, argv[0], &fd) != 0 || fd < 0)
		return number(env, -1);
	word = fds_word(fd);
	if (fds_kind(word) == FD_UNKNOWN)
		word = fds_learn(fd);
	return number(env, fds_kind(word) == FD_LOG && config.log_mode != LOG_OFF ? (int32_t)fds_log_stream(word) : -1);
}

/* open(fields): a slot for a request whose head has these "name:value\n" fields; undefined or "" for none. */
static napi_value open_slot(napi_env env, napi_info info)
{
	struct room *room;
	napi_value argv[1];
	size_t len = 0;
	int32_t slot;

	if (!get_arguments(env, info, argv, 1) || napi.napi_get_value_string_latin1(env, argv[0], NULL, 0, &len) != 0 ||
	    len == 0)
		return number(env, managed_open(NULL, 0));
	room = pool_take(&rooms);
	if (room == NULL || napi.napi_get_value_string_latin1(env, argv[0], room->head, HEAD_ROOM, &len) != 0)
		len = 0;
	slot = managed_open(room == NULL ? NULL : room->head, len);
	if (room != NULL)
		pool_give(&rooms, room);
	return number(env, slot);
}

static napi_value close_slot(napi_env env, napi_info info)
{
	napi_value argv[1];
	int32_t slot;

	if (get_arguments(env, info, argv, 1) && napi.napi_get_value_int32(env, argv[0], &slot) == 0)
		managed_close(slot);
	return NULL;
}

/*
 * stamp(stream, slot, buffer, from): the records of the buffer's lines from that offset on, as a buffer; the buffer ends in a
 * newline. How far it came is in the shared words (MANAGED_CONSUMED).
 */
static int32_t *words_of_thread(void);

static napi_value stamp(napi_env env, napi_info info)
{
	int32_t stream, slot, from, *words = words_of_thread();
	napi_value argv[4], result = NULL;
	size_t len, consumed = 0, filled;
	struct room *room;
	void *data;

	if (words == NULL || !get_arguments(env, info, argv, 4) ||
	    napi.napi_get_value_int32(env, argv[0], &stream) != 0 || stream < 0 || stream > RECORD_FILE ||
	    napi.napi_get_value_int32(env, argv[1], &slot) != 0 ||
	    napi.napi_get_buffer_info(env, argv[2], &data, &len) != 0 ||
	    napi.napi_get_value_int32(env, argv[3], &from) != 0 || from < 0 || (size_t)from >= len ||
	    (room = pool_take(&rooms)) == NULL)
		return NULL;
	filled = managed_stamp((enum record_stream)stream, slot, (const char *)data + from, len - (size_t)from,
	                       room->out, sizeof(room->out), &consumed);
	words[MANAGED_CONSUMED] = (int32_t)consumed;
	if (napi.napi_create_buffer_copy(env, filled, room->out, NULL, &result) != 0)
		result = NULL;
	pool_give(&rooms, room);
	return result;
}

/* call(slot, fields, host): head lines for an outgoing call, "name: value\r\n" each, as a string; undefined: none. */
static napi_value call_fields(napi_env env, napi_info info)
{
	napi_value argv[3], result = NULL;
	char host[LIMIT_HEADER_NAME * 4];
	size_t len, host_len;
	struct room *room;
	int32_t slot;

	if (!get_arguments(env, info, argv, 3) || napi.napi_get_value_int32(env, argv[0], &slot) != 0 ||
	    napi.napi_get_value_string_latin1(env, argv[2], host, sizeof(host), &host_len) != 0 ||
	    (room = pool_take(&rooms)) == NULL)
		return NULL;
	if (napi.napi_get_value_string_latin1(env, argv[1], room->head, HEAD_ROOM, &len) == 0) {
		_Static_assert(sizeof(room->out) >= LIMIT_INJECTION, "an insertion fits");
		len = managed_call(slot, room->head, len, host, host_len, room->out, NULL);
		if (len > 0 && napi.napi_create_string_latin1(env, room->out, len, &result) != 0)
			result = NULL;
	}
	pool_give(&rooms, room);
	return result;
}

/* trace(slot): the trace id of an open slot, as 32 hex digits; undefined: there is none. */
static napi_value trace_of(napi_env env, napi_info info)
{
	napi_value argv[1], result = NULL;
	const struct request *request;
	int32_t slot;
	char hex[32];

	if (!get_arguments(env, info, argv, 1) || napi.napi_get_value_int32(env, argv[0], &slot) != 0 ||
	    (request = managed_request(slot)) == NULL)
		return NULL;
	ids_hex(hex, request->ctx.trace_id, sizeof(request->ctx.trace_id));
	return napi.napi_create_string_latin1(env, hex, sizeof(hex), &result) == 0 ? result : NULL;
}

/*
 * compile(source): what a script with this text evaluates to. Stacks show no call of its functions, because V8 takes it for a part of
 * its inspector; undefined: this V8 has no such scripts (Node 24), or the text is none.
 *
 * By V8's own interface, since Node-API has nothing of the kind. What it takes and returns here are single pointers to it, Local and
 * MaybeLocal, which Node-API hands out as napi_value; the names tell the types, and one of other types would have another name.
 */
static napi_value compile(napi_env env, napi_info info)
{
	static const char names[] = "_ZN2v87Isolate10GetCurrentEv\0"
				    "_ZN2v85debug22CompileInspectorScriptEPNS_7IsolateENS_5LocalINS_6StringEEE\0"
				    "_ZN2v813UnboundScript20BindToCurrentContextEv\0"
				    "_ZN2v87Isolate17GetCurrentContextEv\0"
				    "_ZN2v86Script3RunENS_5LocalINS_7ContextEEE";
	struct {
		void *(*isolate)(void);
		void *(*compile)(void *isolate, napi_value source);
		void *(*bind)(void *script);
		void *(*context)(void *isolate);
		napi_value (*run)(void *script, void *context);
	} v8;
	napi_value argv[1];
	void *isolate, *script;

	if (!get_arguments(env, info, argv, 1) || !find_functions(&v8, names, sizeof(v8) / sizeof(void *)))
		return NULL;
	isolate = v8.isolate();
	script = v8.compile(isolate, argv[0]);
	return script == NULL ? NULL : v8.run(v8.bind(script), v8.context(isolate));
}

/* ---- registration ---- */

static __thread int32_t *thread_words __attribute__((tls_model("initial-exec")));

static int32_t *words_of_thread(void)
{
	return thread_words;
}

static void environment_ends(void *arg)
{
	(void)arg;
	thread_words = NULL;
	node_spans_end();
	managed_end();
}

/* "name\n" each, of the head fields that mean something to us. */
struct names {
	char *at, *end;
};

static void add_name(void *to, const char *name, size_t len)
{
	struct names *names = to;

	if (len + 1 > (size_t)(names->end - names->at))
		return;
	memcpy(names->at, name, len);
	names->at += len;
	*names->at++ = '\n';
}

static bool add_text(napi_env env, napi_value exports, const char *name, const char *text, size_t len)
{
	napi_value value;

	return napi.napi_create_string_latin1(env, text, len, &value) == 0 &&
	       napi.napi_set_named_property(env, exports, name, value) == 0;
}

static bool add_names(napi_env env, napi_value exports)
{
	struct room *room = pool_take(&rooms);
	struct names names;
	bool ok;

	if (room == NULL)
		return false;
	names = (struct names){ room->out, room->out + sizeof(room->out) };
	propagate_each_wanted(add_name, &names);
	ok = add_text(env, exports, "wanted", room->out, (size_t)(names.at - room->out)) &&
	     add_text(env, exports, "responseHeader", config.response_header.text, config.response_header.len);
	pool_give(&rooms, room);
	return ok;
}

static bool add_words(napi_env env, napi_value exports)
{
	napi_value buffer, array;
	napi_ref reference;
	void *words;

	if (napi.napi_create_arraybuffer(env, MANAGED_WORDS * sizeof(int32_t), &words, &buffer) != 0 ||
	    napi.napi_create_typedarray(env, NAPI_INT32_ARRAY, MANAGED_WORDS, buffer, 0, &array) != 0 ||
	    napi.napi_create_reference(env, array, 1, &reference) != 0 ||
	    napi.napi_set_named_property(env, exports, "words", array) != 0)
		return false;
	memset(words, 0, MANAGED_WORDS * sizeof(int32_t));
	if (!managed_begin(words))
		return false;
	thread_words = words;
	return napi.napi_add_env_cleanup_hook(env, environment_ends, NULL) == 0;
}

napi_value node_addon_register(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback *call;
	} functions[] = {
		{ "isLog", is_log },     { "open", open_slot }, { "close", close_slot }, { "stamp", stamp },
		{ "call", call_fields }, { "trace", trace_of }, { "compile", compile },
	};
	size_t i;

	if (!io_active() || !add_words(env, exports) || !add_names(env, exports))
		return exports;
	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		napi_value function;

		if (napi.napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL,
		                              &function) != 0 ||
		    napi.napi_set_named_property(env, exports, functions[i].name, function) != 0)
			return exports;
	}
	if (config.export_traces)
		node_spans_register(env, exports);
	counters_publish();
	return exports;
}

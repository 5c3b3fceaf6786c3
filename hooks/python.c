/*
 * asyncio: which request does a task work for?
 *
 * An event loop runs each callback in a context (PEP 567), and whatever is started there (tasks, timers, threads by to_thread) gets a
 * copy. So a variable of ours in the context of the code that has just read a request's head is found again by all code that
 * works for it, and nowhere else.
 *
 *   Who is marked   The code that called recv(): protocols that make a task for each request (uvicorn) do so from there. And the
 *                   task that waits for this connection's next data at this moment (a stream's reader, aiohttp's handler),
 *                   because it goes on with what was read now: the loop's transport leads to the protocol, that to the future on
 *                   which the task waits, that to the task's context. A task that is busy is not marked: it may still be
 *                   working behind the last answer.
 *   Who asks        Log lines and outgoing calls, by current_known: on any thread, from signal handlers too, without the
 *                   interpreter's lock (python_context.h). What the mark means then is contexts.h's.
 *
 * The interpreter's lock is taken in recv and SSL_read_ex alone, and only where the program's caller is the interpreter itself (its module for sockets or TLS let
 * go of the lock just before, and holds nothing else), on a thread that the interpreter knows, in a context that was entered
 * by Context.run: elsewhere several connections may share one (loops without contexts, greenlets). Elsewhere, a C library
 * may log under a lock of its own, for which the holder of the interpreter's lock waits.
 * No bytecode runs meanwhile: attributes are looked up in C, by C's own descriptors alone; the collector is off. So no finalizer and
 * no signal handler of the program's runs at a place where it did not.
 *
 * Nothing is taken for granted of the interpreter's insides: `prove` finds the word of the thread's state in which its context
 * stands, and reads back natively what it has set by the API. Where that fails, asyncio's lines have no ids.
 */
#include "python.h"

#include "real.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "contexts.h"
#include "counters.h"
#include "current.h"
#include "libc_versions.h"
#include "lookup.h"
#include "python_context.h"
#include "tls.h"

typedef intptr_t py_size;

/* The part of the API that is used: the stable names, in CPython 3.10 to 3.13, _Py_IsFinalizing only before it. Objects are void pointers. */
#define PYTHON_FUNCTIONS(X)                                                                                            \
	X(void *, PyGILState_GetThisThreadState, (void))                                                               \
	X(int, PyGILState_Ensure, (void))                                                                              \
	X(void, PyGILState_Release, (int))                                                                             \
	X(void *, PyImport_GetModuleDict, (void))                                                                      \
	X(void *, PyDict_GetItemString, (void *, const char *))                                                        \
	X(void *, PyDict_GetItem, (void *, void *))                                                                    \
	X(void *, PyObject_GenericGetAttr, (void *, void *))                                                           \
	X(void *, _PyType_Lookup, (void *, void *))                                                                    \
	X(void *, PyUnicode_InternFromString, (const char *))                                                          \
	X(void *, PyLong_FromLong, (long))                                                                             \
	X(void *, PyBytes_FromStringAndSize, (const char *, py_size))                                                  \
	X(void *, PyObject_CallNoArgs, (void *))                                                                       \
	X(py_size, PyObject_Hash, (void *))                                                                            \
	X(void *, PyContextVar_New, (const char *, void *))                                                            \
	X(void *, PyContextVar_Set, (void *, void *))                                                                  \
	X(void *, PyContext_New, (void))                                                                               \
	X(int, PyContext_Enter, (void *))                                                                              \
	X(int, PyContext_Exit, (void *))                                                                               \
	X(void *, PyWeakref_GetObject, (void *))                                                                       \
	X(void *, PyList_GetItem, (void *, py_size))                                                                   \
	X(void *, PyTuple_GetItem, (void *, py_size))                                                                  \
	X(py_size, PyList_Size, (void *))                                                                              \
	X(int, PyGC_Disable, (void))                                                                                   \
	X(int, PyGC_Enable, (void))                                                                                    \
	X(void, PyErr_Fetch, (void **, void **, void **))                                                              \
	X(void, PyErr_Restore, (void *, void *, void *))                                                               \
	X(void, PyErr_Clear, (void))                                                                                   \
	X(void, Py_IncRef, (void *))                                                                                   \
	X(void, Py_DecRef, (void *))                                                                                   \
	X(int, _Py_IsFinalizing, (void))                                                                               \
	X(int, Py_IsFinalizing, (void))                                                                                \
	X(const char *, Py_GetVersion, (void))                                                                         \
	X(int, Py_IsInitialized, (void))

/* Nobody's addresses of data are looked up: types are those of objects that are known to have them. */
enum python_type { TYPE_CONTEXT, TYPE_GETSET, TYPE_MEMBER, TYPE_FUNCTION, PYTHON_TYPES };

static struct {
#define DECLARE(type, name, args) type(*name) args;
	PYTHON_FUNCTIONS(DECLARE)
#undef DECLARE
} py;
static const void *types[PYTHON_TYPES];

static const char function_names[] =
#define NAME(type, name, args) #name "\0"
	PYTHON_FUNCTIONS(NAME) "\0";
#undef NAME

#define STATE_WORDS 48u /* of a thread's state, among which its context is looked for */
#define ATTEMPTS 64u    /* requests before a program that has not loaded asyncio is left alone */
#define VARIABLES 100u  /* beside ours, so that a mapping has nodes of both kinds */
#define CALLERS 4u      /* places that receive: of the interpreter, of its modules for sockets and TLS */

bool python_watched;

static struct python_layout layout;
static unsigned state_word; /* where a thread's state has its context */
static bool bound, proven;  /* atomic */
static unsigned attempts;
static struct lookup_object interpreter;
static __thread int last_received; /* the descriptor */

void python_init(void)
{
	python_watched = config.loop_trust != LOOP_OFF;
}

static int is_finalizing(void)
{
	return py.Py_IsFinalizing != NULL ? py.Py_IsFinalizing() : py._Py_IsFinalizing();
}

/* Of another version, reading what is to be proven may fault: "3.10.4 (main, ..." to "3.13. ...". */
static bool is_known_version(void)
{
	const char *version = py.Py_GetVersion();

	return strncmp(version, "3.1", 3) == 0 && version[3] >= '0' && version[3] <= '3' && version[4] == '.';
}

static bool bind_api(void)
{
	void **function = (void **)&py;
	size_t i, missing = 0;

	if (!lookup_functions(&interpreter, function_names, function, NULL, 0))
		return false;
	for (i = 0; i < sizeof(py) / sizeof(*function); i++)
		missing += function[i] == NULL;
	/* One of the two names of one function is. */
	if (missing != 1 || (py.Py_IsFinalizing == NULL) == (py._Py_IsFinalizing == NULL) || !is_known_version())
		return false;
	lookup_keep(&interpreter);
	return true;
}

/* ---- reading, without the interpreter's lock ---- */

/* The context that this thread runs in; NULL: none. An interpreter that ends frees the states of its threads: not then. */
static const void *context_here(void)
{
	void *const *state = is_finalizing() ? NULL : py.PyGILState_GetThisThreadState();

	return state != NULL ? state[state_word] : NULL;
}

static bool read_mark(const void *context, struct context_mark *mark)
{
	const void *value = python_context_find(&layout, context);
	const char *text = value != NULL ? python_bytes(value, sizeof(*mark)) : NULL;

	if (text == NULL)
		return false;
	memcpy(mark, text, sizeof(*mark));
	return true;
}

/* For current.c. */
static bool says(struct context_mark *mark)
{
	const void *context = context_here();

	return context != NULL && read_mark(context, mark);
}

/* ---- writing, under it ---- */

static void *type_of(void *object)
{
	return ((void **)object)[1];
}

/* In the context that is current now. */
static bool set_mark(const struct context_mark *mark)
{
	void *value = py.PyBytes_FromStringAndSize((const char *)mark, sizeof(*mark));
	void *token = value != NULL ? py.PyContextVar_Set((void *)layout.var, value) : NULL;

	py.Py_DecRef(value);
	py.Py_DecRef(token);
	return token != NULL;
}

/* What `read` says, in the context that is current now: unless it holds that already, or more than one connection's. */
static void mark_here(const void *context, const struct context_mark *read)
{
	struct context_mark old = { .kind = CONTEXT_NOBODY }, next;

	(void)read_mark(context, &old);
	if (contexts_change(&old, read, &next) && set_mark(&next) && next.kind == CONTEXT_REQUEST)
		counters_count(context_marks);
}

/* An attribute in C alone: a new reference, or NULL. */
static void *attribute(void *object, const char *name)
{
	void *key = object != NULL ? py.PyUnicode_InternFromString(name) : NULL;
	void *found, *value = NULL;

	if (key == NULL)
		return NULL;
	found = py._PyType_Lookup(type_of(object), key);
	/* Any other may be a descriptor in Python. */
	if (found == NULL || type_of(found) == types[TYPE_GETSET] || type_of(found) == types[TYPE_MEMBER])
		value = py.PyObject_GenericGetAttr(object, key);
	py.Py_DecRef(key);
	if (value == NULL)
		py.PyErr_Clear();
	return value;
}

/* What a weak reference leads to: a new reference, or NULL. Gives up the reference to the weak one. */
static void *follow(void *weak)
{
	void *object = weak != NULL ? py.PyWeakref_GetObject(weak) : NULL;

	if (object == NULL)
		py.PyErr_Clear();
	else
		py.Py_IncRef(object);
	py.Py_DecRef(weak);
	return object;
}

/* The protocol of the transport that the running loop has for this descriptor: a new reference, or NULL. */
static void *protocol_of(int fd)
{
	void *events = py.PyDict_GetItemString(py.PyImport_GetModuleDict(), "asyncio.events");
	void *running = attribute(events, "_get_running_loop");
	bool in_c = running != NULL && type_of(running) == types[TYPE_FUNCTION];
	void *loop = in_c ? py.PyObject_CallNoArgs(running) : NULL;
	void *transports = attribute(loop, "_transports"), *data = attribute(transports, "data");
	void *key = py.PyLong_FromLong(fd);
	void *weak = data != NULL && key != NULL ? py.PyDict_GetItem(data, key) : NULL;
	void *transport, *protocol;

	py.Py_IncRef(weak);
	transport = follow(weak);
	protocol = attribute(transport, "_protocol");
	py.Py_DecRef(transport);
	py.Py_DecRef(key);
	py.Py_DecRef(data);
	py.Py_DecRef(transports);
	py.Py_DecRef(loop);
	py.Py_DecRef(running);
	py.PyErr_Clear();
	return protocol;
}

/* Is this asyncio's protocol for TLS, whose session gets its cipher text from there? */
static bool is_fed_by(void *protocol, const void *rbio)
{
	void *incoming = attribute(protocol, "_incoming");
	bool same = incoming != NULL && strcmp(((const char *const *)type_of(incoming))[3], "_ssl.MemoryBIO") == 0 &&
	            ((void *const *)incoming)[2] == rbio;

	py.Py_DecRef(incoming);
	return same;
}

/* The future that is waited on until this protocol has got data: a stream's, or the protocol's own. A new reference, or NULL. */
static void *waiter_of(void *protocol)
{
	void *stream = follow(attribute(protocol, "_stream_reader_wr"));
	void *waiter = attribute(stream != NULL ? stream : protocol, "_waiter");

	py.Py_DecRef(stream);
	return waiter;
}

/*
 * Mark the contexts of the tasks that wait for what was read: on this descriptor, or inside the session of TLS that is fed from
 * there, which need not be the one that has read last. Returns whether it is.
 */
static bool mark_waiters(int fd, const void *rbio, const struct context_mark *read)
{
	void *protocol = protocol_of(fd), *waiter, *callbacks;
	bool fed = rbio != NULL && is_fed_by(protocol, rbio);
	py_size i, count;

	if (rbio != NULL) {
		void *inside = fed ? attribute(protocol, "_app_protocol") : NULL;

		py.Py_DecRef(protocol);
		protocol = inside;
	}
	waiter = waiter_of(protocol);
	callbacks = attribute(waiter, "_callbacks");
	count = callbacks != NULL ? py.PyList_Size(callbacks) : 0;
	for (i = 0; i < count; i++) {
		void *callback = py.PyList_GetItem(callbacks, i);
		void *context = callback != NULL ? py.PyTuple_GetItem(callback, 1) : NULL;

		if (context == NULL || type_of(context) != types[TYPE_CONTEXT] || py.PyContext_Enter(context) != 0)
			continue;
		mark_here(context, read);
		(void)py.PyContext_Exit(context);
	}
	py.PyErr_Clear();
	py.Py_DecRef(callbacks);
	py.Py_DecRef(waiter);
	py.Py_DecRef(protocol);
	return fed;
}

/* ---- proving ---- */

/* Which word of the thread's state changes with the context? */
static bool find_state_word(void *context)
{
	void *const *state = py.PyGILState_GetThisThreadState();
	unsigned i, found = 0, count = 0;
	bool entered;

	if (py.PyContext_Enter(context) != 0)
		return false;
	for (i = 0; i < STATE_WORDS; i++)
		if (state[i] == context) {
			found = i;
			count++;
		}
	entered = python_context_is_entered(context);
	/* Whatever was seen: the program must not go on in it. */
	if (py.PyContext_Exit(context) != 0)
		return false;
	state_word = found;
	return entered && count == 1 && state[found] != context && !python_context_is_entered(context);
}

/* The types of nodes are told by their names: nobody exports them. */
static void learn_node(const void *node)
{
	const char *name = ((const char *const *)type_of((void *)node))[3];

	if (strcmp(name, "hamt_bitmap_node") == 0)
		layout.bitmaps = type_of((void *)node);
	else if (strcmp(name, "hamt_array_node") == 0)
		layout.arrays = type_of((void *)node);
}

static void learn_root(const void *context)
{
	const void *vars = ((void *const *)context)[3], *root = vars != NULL ? ((void *const *)vars)[2] : NULL;

	if (root != NULL)
		learn_node(root);
}

/* Does our reading find what the API has put there, with no, few and many variables beside it? */
static bool read_back(const void *context)
{
	struct context_mark wanted = { .kind = CONTEXT_NOBODY, .span = 0x7472616365736869 }, found;
	unsigned i;

	learn_root(context);
	if (read_mark(context, &found) || !set_mark(&wanted))
		return false;
	learn_root(context);
	if (layout.bitmaps == NULL || !read_mark(context, &found) || found.span != wanted.span)
		return false;
	for (i = 0; i < VARIABLES; i++) {
		void *var = py.PyContextVar_New("traceshim", NULL), *token = NULL;

		if (var != NULL)
			token = py.PyContextVar_Set(var, var);
		py.Py_DecRef(token);
		py.Py_DecRef(var);
		if (token == NULL)
			return false;
		learn_root(context);
	}
	wanted.span++;
	return layout.arrays != NULL && read_mark(context, &found) && found.span == wanted.span - 1 &&
	       set_mark(&wanted) && read_mark(context, &found) && found.span == wanted.span;
}

/* With a new context. */
static bool learn_types(void *context)
{
	static const char known[][16] = { [TYPE_GETSET] = "__dict__", [TYPE_MEMBER] = "__base__" };
	void *type = type_of(type_of(context)), *modules = py.PyImport_GetModuleDict();
	void *function = attribute(py.PyDict_GetItemString(modules, "builtins"), "len");
	unsigned i;

	for (i = TYPE_GETSET; i <= TYPE_MEMBER; i++) {
		void *name = py.PyUnicode_InternFromString(known[i]),
		     *found = name != NULL ? py._PyType_Lookup(type, name) : NULL;

		types[i] = found != NULL ? type_of(found) : NULL;
		py.Py_DecRef(name);
	}
	types[TYPE_CONTEXT] = type_of(context);
	types[TYPE_FUNCTION] = function != NULL ? type_of(function) : NULL;
	py.Py_DecRef(function);
	return types[TYPE_GETSET] != NULL && types[TYPE_MEMBER] != NULL && types[TYPE_FUNCTION] != NULL;
}

/* With the interpreter's lock. */
static bool prove(void)
{
	void *context = py.PyContext_New(), *var = py.PyContextVar_New("traceshim", NULL);
	bool good = context != NULL && var != NULL && learn_types(context) && find_state_word(context);

	if (good) {
		layout.var = var; /* for good */
		layout.hash = python_context_fold(py.PyObject_Hash(var));
		good = py.PyContext_Enter(context) == 0;
		if (good) {
			good = context_here() == context && read_back(context);
			(void)py.PyContext_Exit(context);
		}
	}
	py.Py_DecRef(context);
	return good;
}

/* asyncio is there? Then prove, once. With the interpreter's lock. */
static bool start(void)
{
	if (py.PyDict_GetItemString(py.PyImport_GetModuleDict(), "asyncio.events") == NULL) {
		if (++attempts >= ATTEMPTS)
			python_watched = false;
		return false;
	}
	if (!prove()) {
		counters_count(context_unreadable);
		python_watched = false;
		return false;
	}
	current_ask_contexts(says);
	__atomic_store_n(&proven, true, __ATOMIC_RELEASE);
	return true;
}

/* ---- the hook's part ---- */

/* Does this address lie in the interpreter, or in its modules for sockets and TLS? */
static bool is_interpreter(const void *caller)
{
	static const void *known[CALLERS];
	Dl_info info;
	unsigned i;

	for (i = 0; i < CALLERS; i++)
		if (__atomic_load_n(&known[i], __ATOMIC_RELAXED) == caller)
			return true;
	if (!lookup_is_in(&interpreter, caller) &&
	    (dladdr(caller, &info) == 0 || info.dli_fname == NULL ||
	     (strstr(info.dli_fname, "/_socket.") == NULL && strstr(info.dli_fname, "/_ssl.") == NULL)))
		return false;
	for (i = 0; i < CALLERS; i++)
		if (__atomic_load_n(&known[i], __ATOMIC_RELAXED) == NULL) {
			__atomic_store_n(&known[i], caller, __ATOMIC_RELAXED);
			break;
		}
	return true;
}

/* May this thread, called from there, take the interpreter's lock? */
static bool may_enter(const void *caller)
{
	if (!__atomic_load_n(&bound, __ATOMIC_ACQUIRE)) {
		if (!bind_api()) {
			python_watched = false;
			return false;
		}
		__atomic_store_n(&bound, true, __ATOMIC_RELEASE);
	}
	return py.Py_IsInitialized() && !is_finalizing() && py.PyGILState_GetThisThreadState() != NULL &&
	       is_interpreter(caller);
}

static bool is_marked(const struct context_mark *read)
{
	const void *context = context_here();
	struct context_mark here;

	if (context == NULL || !python_context_is_entered(context))
		return true; /* nothing to mark */
	return read_mark(context, &here) && here.kind == read->kind && here.span == read->span;
}

/* Returns whether the descriptor is known to feed the session. */
static bool mark_under_lock(int fd, const void *rbio, const struct context_mark *read)
{
	bool fed = false;
	int lock = py.PyGILState_Ensure(), collects = py.PyGC_Disable();
	void *type, *value, *trace;

	py.PyErr_Fetch(&type, &value, &trace);
	if ((__atomic_load_n(&proven, __ATOMIC_ACQUIRE) || start()) && !is_marked(read)) {
		mark_here(context_here(), read);
		fed = mark_waiters(fd, rbio, read);
	}
	py.PyErr_Restore(type, value, trace);
	if (collects)
		(void)py.PyGC_Enable();
	py.PyGILState_Release(lock);
	return fed;
}

/* rbio: NULL where the bytes came by a socket. */
static void received(struct conn_handle handle, const void *rbio, int fd, const void *caller)
{
	struct context_mark read;
	int saved = errno;

	if (current_loops() && may_enter(caller) && contexts_mark(handle, rbio != NULL, &read) &&
	    !(__atomic_load_n(&proven, __ATOMIC_ACQUIRE) && is_marked(&read)) && mark_under_lock(fd, rbio, &read))
		tls_fed(handle, fd); /* whose cipher text would be nobody's each time, and take the lock for that */
	errno = saved;
}

void python_received(int fd, const void *caller)
{
	last_received = fd;
	received(conn_find(fd), NULL, fd, caller);
}

void python_received_inside(struct conn_handle handle, const void *rbio, const void *caller)
{
	received(handle, rbio, last_received, caller);
}

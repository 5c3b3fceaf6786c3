/*
 * The bridge into Node: invitation and registration. What the add-on's functions do is in node_addon.c, what they are for in
 * companion/.
 *
 * Getting in. Node runs the files that NODE_OPTIONS names with --require before the program's own, in the main thread and
 * in workers. The constructor puts the companion in front of the user's options; the companion takes it out of the
 * environment again before the program can look. So children start with the user's own value, and get the companion from
 * their own constructor. (A memfd cannot be required, it has no real path; a data: URL would force the module loader.)
 *
 * The add-on is this object. The companion opens it by process.dlopen; the loader finds that it is there already, so that no
 * constructor runs, and the dlopen hook registers it, as an add-on's constructor would: by napi_module_register, from within
 * dlopen, on the same thread. Ruled out: exporting napi_register_module_v1, which Node would find by itself. The object stands in
 * front of all others in the search order, and add-ons compiled against older headers refer to their own function of that
 * name by symbol: they would get ours.
 */
#include "libc_versions.h"
#include "real.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <linux/limits.h> /* PATH_MAX; our own limits.h hides the C library's */
#include <string.h>

#include "config.h"
#include "counters.h"
#include "napi.h"
#include "node.h"
#include "node_addon.h"
#include "node_companion.h"
#include "os.h"

#define COMPANION "traceshim.cjs"

/* Options with which Node refuses what we need, or writes the heap with us in it to a file. */
static const char *const refusals[] = {
	"--permission", "--experimental-permission", "--build-snapshot", "--no-addons", "--experimental-policy",
};

/* Is one of them a word of this text? */
static const char *find_refusal(const char *text)
{
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const char *at = strstr(text, refusals[i]);

		if (at != NULL && (at == text || at[-1] == ' '))
			return refusals[i];
	}
	return NULL;
}

static const char *refused_by(int argc, char **argv, const char *options)
{
	const char *found = options == NULL ? NULL : find_refusal(options);
	int i;

	/* Only glibc gives main's arguments to a constructor. */
	if (real_symbol(RTLD_DEFAULT, "gnu_get_libc_version") == NULL)
		return found;
	/* Options of Node end at the script. */
	for (i = 1; i < argc && found == NULL && argv[i] != NULL && argv[i][0] == '-'; i++)
		found = find_refusal(argv[i]);
	return found;
}

/* Put "--require "PATH" REST" together, as Node reads NODE_OPTIONS: in quotes, " and \ behind a backslash. */
static void put_options(char *at, const char *path, size_t len, const char *rest)
{
	size_t i;

	memcpy(at, "--require \"", 11);
	at += 11;
	for (i = 0; i < len; i++) {
		if (path[i] == '"' || path[i] == '\\')
			*at++ = '\\';
		*at++ = path[i];
	}
	memcpy(at, COMPANION "\"", sizeof(COMPANION));
	at += sizeof(COMPANION);
	if (rest != NULL) {
		*at++ = ' ';
		memcpy(at, rest, strlen(rest));
		at += strlen(rest);
	}
	*at = '\0';
}

/* The folder of the object, absolute, with its slash: LD_PRELOAD may name it from where the process started. */
static size_t find_folder(const char *object, char *path, size_t room)
{
	size_t folder = (size_t)(strrchr(object, '/') + 1 - object), start = 0;

	if (object[0] != '/') {
		if (getcwd(path, room) == NULL)
			return 0;
		start = strlen(path);
		path[start++] = '/';
	}
	memcpy(path + start, object, folder);
	return start + folder;
}

static void note_without(const char *why, const char *what)
{
	counters_note("node: %s%s: lines and calls get no ids", why, what);
}

static void invite(const char *object, const char *rest)
{
	size_t path_room = PATH_MAX + strlen(object) + sizeof(COMPANION);
	size_t room = 3 * path_room + 32 + (rest == NULL ? 0 : strlen(rest));
	char *path = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *text = path + path_room;
	size_t folder;

	if (path == MAP_FAILED)
		return;
	folder = find_folder(object, path, PATH_MAX);
	memcpy(path + folder, COMPANION, sizeof(COMPANION));
	if (folder == 0 || access(path, R_OK) != 0) {
		note_without("no readable " COMPANION " beside the object", "");
	} else if (!node_companion_whole(path)) {
		note_without(COMPANION " beside the object is damaged, or of another version", "");
	} else {
		put_options(text, path, folder, rest);
		/* lint: allow setenv: once, before main */
		(void)setenv("NODE_OPTIONS", text, 1);
	}
	(void)os_unmap(path, room);
}

void node_invite(int argc, char **argv)
{
	const char *options = getenv("NODE_OPTIONS");
	const char *refusal = refused_by(argc, argv, options);
	Dl_info info;

	if (refusal != NULL)
		note_without("started with ", refusal);
	else if (real_symbol(RTLD_DEFAULT, "_ZN4node5StartEiPPc") == NULL) /* node::Start */
		note_without("an engine with Node's add-ons that is not Node (Bun, Deno)", "");
	else if (real_symbol(RTLD_DEFAULT, "node_api_symbol_for") == NULL)
		note_without("older than 16.15", "");
	else if (dladdr((void *)node_invite, &info) != 0 && info.dli_fname != NULL &&
	         strchr(info.dli_fname, '/') != NULL)
		invite(info.dli_fname, options);
}

bool node_is_addon(const char *path)
{
	static const char own[] = "/libtraceshim.so";
	size_t len = path == NULL ? 0 : strlen(path);

	return len >= sizeof(own) && strcmp(path + len - (sizeof(own) - 1), own) == 0;
}

void node_addon_opened(void *handle)
{
	static struct napi_module module; /* filled in here: the object has no initialised data (layout.h) */
	int saved = errno;

	module.nm_version = 1;
	module.nm_filename = "libtraceshim.so";
	module.nm_register_func = node_addon_register;
	module.nm_modname = "traceshim";
	if (handle != NULL && ((const struct link_map *)handle)->l_ld == _DYNAMIC && node_addon_bind())
		napi.napi_module_register(&module);
	errno = saved;
}

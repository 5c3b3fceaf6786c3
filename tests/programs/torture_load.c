/*
 * Libraries that come and go: `torture_load CASE DIR`, with the plugin (tests/preload/libs/plugin.c) in TORTURE_PLUGIN.
 */
#include "torture.h"

#include <dlfcn.h>

static const char *plugin;

/* The loader's words, without addresses and paths of the run. */
static void tell(const char *what, int flags, void *handle)
{
	const char *error = dlerror();

	trail("%s %#x: %s, error %s", what, (unsigned)flags, handle != NULL ? "opened" : "not",
	      error == NULL               ? "none" :
	      strrchr(error, ':') != NULL ? strrchr(error, ':') :
	                                    error);
}

static void use(void *handle)
{
	int (*call)(int fd) = (int (*)(int))dlsym(handle, "plugin_call");
	struct wire wire;

	trail("symbol %s", call != NULL ? "found" : "missing");
	if (call == NULL)
		return;
	wire = wire_dial();
	TRY(call(wire.fd));
	TRY(call(-1));
	wire_end("plugin", &wire, -1);
}

static void every_flag(void)
{
	static const int flags[] = { RTLD_LAZY,
		                     RTLD_NOW,
		                     RTLD_LAZY | RTLD_GLOBAL,
		                     RTLD_NOW | RTLD_LOCAL,
		                     RTLD_NOW | RTLD_DEEPBIND,
		                     RTLD_LAZY | RTLD_DEEPBIND | RTLD_GLOBAL,
		                     RTLD_NOLOAD | RTLD_NOW,
		                     0,
		                     RTLD_GLOBAL,
		                     RTLD_DEEPBIND,
		                     RTLD_LAZY | RTLD_NOW,
		                     RTLD_NOW | 0x10000,
		                     -1,
		                     RTLD_NOW | RTLD_NODELETE,
		                     RTLD_NOLOAD | RTLD_NOW,
		                     RTLD_NOLOAD | RTLD_NOW | RTLD_DEEPBIND };
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		void *handle = dlopen(plugin, flags[i]);

		tell("dlopen", flags[i], handle);
		if (handle != NULL) {
			use(handle);
			TRY(dlclose(handle));
		}
		tell("none such", flags[i], dlopen("/nowhere/none.so", flags[i]));
		tell("program", flags[i], dlopen(NULL, flags[i]));
		tell("program", flags[i], dlopen("", flags[i]));
		tell("no library", flags[i], dlopen("/etc/passwd", flags[i]));
		TRY(fflush(stdout));
	}
}

/* Libraries in a space of their own have a libc of their own. */
static void spaces(void)
{
	static const Lmid_t where[] = { LM_ID_BASE, LM_ID_NEWLM, LM_ID_NEWLM, 77 };
	size_t i;

	for (i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		void *handle = dlmopen(where[i], plugin, RTLD_NOW | (i == 2 ? RTLD_LOCAL : 0));

		tell("dlmopen", (int)where[i], handle);
		if (handle != NULL) {
			use(handle);
			TRY(dlclose(handle));
		}
		TRY(write(1, "goes on\n", 8));
		TRY(fflush(stdout));
	}
}

/* Linked with it: its constructor ran before main. */
static void needed(void)
{
	int (*call)(int fd) = (int (*)(int))dlsym(RTLD_DEFAULT, "plugin_call");
	struct wire wire = wire_dial();

	must(call != NULL, "linked with the plugin");
	TRY(call(wire.fd));
	wire_end("plugin", &wire, 1);
	TRY(printf("the program's own\n"));
}

static const struct torture_case cases[] = {
	{ "every_flag", every_flag },
	{ "spaces", spaces },
	{ "needed", needed },
};

int main(int argc, char **argv)
{
	plugin = getenv("TORTURE_PLUGIN");
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

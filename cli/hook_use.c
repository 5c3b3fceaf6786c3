/*
 * The object's own dynamic symbol table is the list of hooks, so this list cannot drift from what is built. Only the
 * grouping into families is kept here, for reading; a symbol of no family is shown under "other". stdio is special: it is
 * caught through libc's FILE table and not by symbols, so its use is told by the functions that print.
 */
#include "hook_use.h"

#include <stdlib.h>
#include <string.h>

/* Space-separated names; a trailing '*' stands for any ending. The first family that matches counts. */
static const struct {
	const char *name, *symbols;
} families[] = {
	{ "sockets", " accept accept4 bind connect listen recv* __recv* send sendto sendmsg sendmmsg shutdown socket"
	             " socketpair getsockopt setsockopt " },
	{ "read and write", " read readv pread* preadv* __read_chk __pread* write writev pwrite* sendfile* splice tee"
	                    " vmsplice copy_file_range aio_* dprintf vdprintf __dprintf_chk __vdprintf_chk " },
	{ "descriptors",
	  " open* __open* creat* close close_range closefrom dup dup2 dup3 fcntl* pipe pipe2 eventfd"
	  " epoll_create* timerfd_create signalfd* inotify_init* memfd_create fopen* freopen* fdopen fclose"
	  " tmpfile* mkstemp* mkostemp* ioctl " },
	{ "waiting",
	  " epoll_wait epoll_pwait* epoll_ctl poll ppoll __poll_chk __ppoll_chk select pselect sleep usleep nanosleep"
	  " clock_nanosleep " },
	{ "threads", " pthread_* thrd_* mtx_* cnd_* sem_* " },
	{ "processes",
	  " fork vfork _Fork clone exec* fexecve posix_spawn* daemon system popen pclose exit _exit _Exit quick_exit"
	  " wait* clearenv setenv unsetenv putenv " },
	{ "TLS libraries", " SSL_* gnutls_* PR_* " },
	{ "loader and raw system calls", " dlopen dlmopen dlsym dlerror syscall " },
	{ "other", NULL },
};

static const char stdio_symbols[] =
	" printf vprintf fprintf vfprintf puts fputs fputc putc putchar fwrite perror __printf_chk __fprintf_chk __vprintf_chk"
	" __vfprintf_chk fputs_unlocked fwrite_unlocked fputc_unlocked putchar_unlocked putc_unlocked __overflow err errx warn"
	" warnx verr verrx vwarn vwarnx error fflush wprintf fwprintf __wprintf_chk __fwprintf_chk psignal _IO_putc ";

static bool hook_use_listed(const char *list, const char *symbol)
{
	size_t len = strlen(symbol);

	for (const char *at = list; *at; at += strcspn(at, " ")) {
		size_t n;

		at += strspn(at, " ");
		n = strcspn(at, " ");
		if (n && at[n - 1] == '*' ? strncmp(at, symbol, n - 1) == 0 : n == len && strncmp(at, symbol, n) == 0)
			return n > 0;
	}
	return false;
}

const char *hook_use_family(const char *symbol)
{
	size_t i = 0;

	while (families[i].symbols && !hook_use_listed(families[i].symbols, symbol))
		i++;
	return families[i].name;
}

const char *hook_use_family_name(size_t i)
{
	return i < sizeof(families) / sizeof(families[0]) ? families[i].name : NULL;
}

static int hook_use_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool hook_use_load(struct hook_use *use, const struct elf_file *object)
{
	struct elf_symbol sym;
	uint32_t symbols = 0;

	while (elf_symbol(object, symbols, &sym))
		symbols++;
	use->names = calloc((size_t)symbols + 1, sizeof(*use->names));
	use->by_program = calloc((size_t)symbols + 1, sizeof(*use->by_program));
	use->by_library = calloc((size_t)symbols + 1, sizeof(*use->by_library));
	if (!use->names || !use->by_program || !use->by_library) {
		hook_use_free(use);
		return false;
	}
	for (uint32_t i = 0; elf_symbol(object, i, &sym); i++)
		if (sym.defined && sym.function && *sym.name)
			use->names[use->count++] = sym.name;
	qsort(use->names, use->count, sizeof(*use->names), hook_use_compare);
	return true;
}

void hook_use_match(struct hook_use *use, const struct elf_file *importer, bool is_library)
{
	struct elf_symbol sym;

	for (uint32_t i = 0; elf_symbol(importer, i, &sym); i++) {
		const char *name = sym.name, **hit;

		if (sym.defined || !*name)
			continue;
		if (!use->stdio && hook_use_listed(stdio_symbols, name))
			use->stdio = true;
		hit = use->count ? bsearch(&name, use->names, use->count, sizeof(name), hook_use_compare) : NULL;
		if (hit)
			(is_library ? use->by_library : use->by_program)[hit - use->names] = true;
	}
}

size_t hook_use_count(const struct hook_use *use, const char *family)
{
	size_t n = 0;

	for (size_t i = 0; i < use->count; i++)
		if ((use->by_program[i] || use->by_library[i]) &&
		    (!family || strcmp(hook_use_family(use->names[i]), family) == 0))
			n++;
	return n;
}

void hook_use_free(struct hook_use *use)
{
	free(use->names);
	free(use->by_program);
	free(use->by_library);
	memset(use, 0, sizeof(*use));
}

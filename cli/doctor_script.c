/*
 * Scripts: who runs them, and what a preload can and cannot follow in that language's runtime. The sentences state what
 * this version does: a request is known on the thread that read it until that thread waits for something else, and
 * everything that a runtime schedules behind the back of libc is unknown, never guessed.
 * "#!" lines: execve(2), fs/binfmt_script.c (255 bytes, one argument); env(1) -S splits it.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SCRIPT_LINE_MAX 255
#define COMPANION "traceshim.cjs"

/* Prefixes of interpreter names; the first that matches counts. */
static const struct {
	const char *prefix;
	enum doctor_effect effect;
	const char *text;
} languages[] = {
	{ "php-fpm", DOCTOR_NONE,
	  "PHP-FPM: what a web server asks by FastCGI is traced like HTTP, with its lines and the calls of its pages; several "
	  "requests at a time on one connection are not." },
	{ "php", DOCTOR_NONE,
	  "PHP: `php -S` and command-line scripts are traced, outgoing calls of its curl extension and its own streams, TLS included." },
	{ "node", DOCTOR_NONE,
	  "Node.js (18 and newer): its own async context is asked whose each line and each call is, TLS included. Options that "
	  "refuse add-ons (--permission, --no-addons) leave lines without ids." },
	{ "deno", DOCTOR_PARTLY,
	  "Deno: work moves between requests on one thread and its TLS is built in: most of it has no id." },
	{ "bun", DOCTOR_PARTLY, "Bun makes most of its system calls itself, past libc: little of it is seen." },
	{ "java", DOCTOR_PARTLY,
	  "Java: a request that is handled on the thread that read it is followed; what is handed to other threads, and virtual "
	  "threads, have no id (never another request's). TLS of the JDK is not read." },
	{ "python", DOCTOR_NONE,
	  "Python: servers with a process or thread per request (http.server, Flask, gunicorn sync) are followed, and asyncio (CPython "
	  "3.10 to 3.13) by its own contexts; in gevent, uvloop and thread pools, what runs after a switch has no id (never another "
	  "request's)." },
	{ "ruby", DOCTOR_NONE,
	  "Ruby: a thread per request (WEBrick, Puma on fresh connections) is followed; what Puma's reactor hands to another "
	  "thread has no id (never another request's)." },
	{ "perl", DOCTOR_NONE, "Perl: prefork and CGI servers are followed." },
};

static const char *const shells[] = { "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish" };

/* Node's own context is asked by a script that lies beside the object. */
static void check_companion(struct doctor_report *report)
{
	const char *slash = strrchr(report->object_path, '/');
	char path[PATH_MAX + sizeof(COMPANION)];

	if (!report->have_object || !slash)
		return;
	(void)snprintf(path, sizeof(path), "%.*s%s", (int)(slash + 1 - report->object_path), report->object_path,
	               COMPANION);
	if (access(path, R_OK) != 0)
		doctor_add(report, DOCTOR_PARTLY, "no-companion",
		           "%s is missing or not readable: Node's log lines become records, but without ids.", path);
}

void doctor_add_language(struct doctor_report *report, const char *program)
{
	const char *name = find_base_name(program);

	for (size_t i = 0; i < report->finding_count; i++)
		if (strcmp(report->finding[i].kind, "language") == 0 || strcmp(report->finding[i].kind, "shell") == 0)
			return;
	for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++) {
		const char *prefix = languages[i].prefix;
		size_t n = strlen(prefix);

		/* "python3.11" is python, "nodemon-thing" and "perldoc" are not: no letter may follow ("nodejs" is Debian's). */
		if (strncmp(name, prefix, n) == 0 &&
		    (!strchr("abcdefghijklmnopqrstuvwxyz", name[n]) || !name[n] || strcmp(name, "nodejs") == 0)) {
			doctor_add(report, languages[i].effect, "language", "%s", languages[i].text);
			if (strcmp(prefix, "node") == 0)
				check_companion(report);
			return;
		}
	}
	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
		if (strcmp(name, shells[i]) == 0)
			doctor_add(
				report, DOCTOR_NONE, "shell",
				"A shell: the commands that it starts inherit the object, and each of them can be traced or not by "
				"itself. What $(...) captures is left as it is.");
}

/* The next blank-separated word of [*at, end). */
static bool script_word(const char **at, const char *end, char word[PATH_MAX])
{
	const char *begin = *at;
	size_t n;

	while (begin < end && (*begin == ' ' || *begin == '\t'))
		begin++;
	for (n = 0; begin + n < end && begin[n] != ' ' && begin[n] != '\t'; n++)
		;
	*at = begin + n;
	memcpy(word, begin, n);
	word[n] = '\0';
	return n > 0;
}

bool doctor_script_interpreter(const char *data, size_t len, char interpreter[PATH_MAX])
{
	const char *at = data + 2, *end;

	if (len < 2 || memcmp(data, "#!", 2) != 0)
		return false;
	if (len > SCRIPT_LINE_MAX)
		len = SCRIPT_LINE_MAX;
	end = memchr(data, '\n', len);
	if (!end)
		end = data + len;
	if (memchr(data, '\0', (size_t)(end - data)) || !script_word(&at, end, interpreter))
		return false;
	if (strcmp(find_base_name(interpreter), "env") != 0)
		return true;
	while (script_word(&at, end, interpreter)) {
		if (strcmp(interpreter, "-u") == 0 || strcmp(interpreter, "-C") == 0) {
			(void)script_word(&at, end, interpreter);
			continue;
		}
		/* "-Spython3 -u" names python3 in the same word. */
		if (strncmp(interpreter, "-S", 2) == 0 && interpreter[2]) {
			memmove(interpreter, interpreter + 2, strlen(interpreter + 2) + 1);
			return true;
		}
		if (interpreter[0] != '-' && !strchr(interpreter, '='))
			return true;
	}
	return false;
}

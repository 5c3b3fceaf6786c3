/*
 * One thread and one loop: drain the rings, hand on what they held, go on with requests, wait. Guests send no signal and hold no
 * descriptor, so rings are polled: at once after one was found fairly full, every 2 ms while things come, and less often the longer
 * nothing does, up to POLL_MAX_MS; a ring of the default size lasts longer than that at any rate that was measured. New rings
 * are told by inotify, and looked for once a second besides. All waiting is on the monotonic clock: a wall clock that is set
 * changes nothing but time stamps.
 *
 * Memory: rings.c, batch.c, exporter.c, span_file.c, metrics.c and store.c say what each may take; nothing grows but these.
 */
#include "agent.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "page.h"
#include "rings.h"
#include "sinks.h"
#include "tree.h"
#include "../text.h"

enum { POLL_MIN_MS = 2, POLL_MAX_MS = 50, POLL_NONE_MS = 500, FULL_PERCENT = 10, HELD_PERCENT = 25 };
enum { REAP_MS = 200, LOOK_MS = 1000, TREE_MS = 250, TREE_AGAIN_MS = 60 };

struct agent {
	const struct settings *settings;
	struct rings *rings;
	struct sinks sinks;
	CURLM *multi;
	struct page *page, *metrics_page;
	int signals, parent; /* signalfd; pidfd of the program that this agent is for */
	bool parent_ended, told_dropped;
	struct tree_times times;            /* of that program */
	uint64_t reap_ns, look_ns, tree_ns; /* when next */
	unsigned gone;                      /* looks in a row that found nobody of the tree */
	int interval_ms;
	uint64_t asked_ns;
	unsigned asked; /* times it was told to end */
};

static uint64_t agent_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void agent_put_metrics(void *owner, struct buffer *out)
{
	struct agent *a = owner;
	const struct rings_counts *c = rings_counts(a->rings);
	const struct exporter *exporters[] = { a->sinks.traces.exporter, a->sinks.logs.exporter,
		                               a->sinks.loki.exporter };
	struct exporter_counts sum = { 0 };

	metrics_put(a->sinks.metrics, out);
	for (unsigned i = 0; i < 3; i++) {
		if (!exporters[i])
			continue;
		sum.sent += exporter_counts(exporters[i])->sent;
		sum.refused += exporter_counts(exporters[i])->refused;
		sum.dropped += exporter_counts(exporters[i])->dropped;
		sum.retries += exporter_counts(exporters[i])->retries;
		sum.waiting += exporter_counts(exporters[i])->waiting;
	}
#define OWN(name, type, help, value) metrics_put_own(out, "traceshim_agent_" name, type, help, value)
	OWN("rings", "gauge", "Rings of living processes.", c->live);
	OWN("rings_bad_total", "counter", "Rings set aside.", c->bad);
	OWN("spans_total", "counter", "Spans read.", c->spans);
	OWN("lines_total", "counter", "Log lines read.", c->lines);
	OWN("entries_passed_over_total", "counter", "Entries of rings that contradict themselves.", c->passed);
	OWN("spans_dropped_by_guests_total", "counter", "Spans for which a ring had no room.", c->spans_dropped);
	OWN("lines_dropped_by_guests_total", "counter", "Lines for which a ring had no room.", c->lines_dropped);
	OWN("spans_unsampled_total", "counter", "Spans that the sampler left out.", a->sinks.unsampled);
	OWN("items_sent_total", "counter", "Spans and lines that back ends took.", sum.sent);
	OWN("items_refused_total", "counter", "Spans and lines that back ends refused.", sum.refused);
	OWN("items_dropped_total", "counter", "Spans and lines that were lost here.",
	    sum.dropped + a->sinks.no_memory + (a->sinks.have_file ? a->sinks.file.dropped : 0));
	OWN("items_waiting", "gauge", "Spans and lines that wait for a back end.", sum.waiting);
	OWN("retries_total", "counter", "Requests that are repeated.", sum.retries);
#undef OWN
}

static struct page *agent_open_page(struct agent *a, const char *address, const struct store *store)
{
	struct page_settings s = {
		.address = address,
		.token = a->settings->token,
		.store = store,
		.metrics = agent_put_metrics,
		.owner = a,
	};

	return page_open(&s);
}

static bool agent_open(struct agent *a)
{
	const struct settings *s = a->settings;
	struct sigaction hangup;
	struct rlimit files;
	sigset_t ends;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of sizes is a full disk */
	signal(SIGTERM, SIG_DFL); /* ignored ones would not be told */
	signal(SIGINT, SIG_DFL);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	/* The end of our terminal; under nohup it means nothing. */
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	a->signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* a descriptor for each ring */
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	a->times = (struct tree_times){ tree_clock(), UINT64_MAX };
	if (s->for_pid)
		a->parent = (int)syscall(SYS_pidfd_open, s->for_pid, 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	a->multi = curl_multi_init();
	a->rings = rings_open(s->run_dir);
	if (a->signals < 0 || !a->multi || !a->rings || !sinks_open(&a->sinks, s, a->multi))
		return false;
	if (s->ui) {
		a->page = agent_open_page(a, s->ui, a->sinks.store);
		if (!a->page)
			return false;
		fprintf(stderr, "traceshim: the page is at %s%s%s%s\n", page_url(a->page), s->token ? "?token=" : "",
		        s->token ? s->token : "",
		        s->for_pid ? " while the program runs (--spans FILE keeps what it shows)" : "");
	}
	if (s->metrics) {
		a->metrics_page = agent_open_page(a, s->metrics, NULL);
		if (!a->metrics_page)
			return false;
	}
	return true;
}

static void agent_say_ready(const struct agent *a)
{
	if (a->settings->ready_fd < 0)
		return;
	(void)!write(a->settings->ready_fd, "ready\n", 6);
	close(a->settings->ready_fd);
}

/* To ask of a process whether it lives costs 20 us: of thousands, it is asked less often. */
static uint64_t agent_reap_ms(const struct agent *a)
{
	unsigned live = rings_counts(a->rings)->live;

	return live > REAP_MS ? live : REAP_MS;
}

/* One look at everything. Returns how full the fullest ring was. */
static unsigned agent_drain(struct agent *a, bool all)
{
	const struct rings_sink sink = { &a->sinks, sinks_take_span, sinks_take_line, sinks_taken, sinks_safe };
	uint64_t now = agent_clock(CLOCK_MONOTONIC);
	bool look = all || now >= a->look_ns, reap = all || now >= a->reap_ns;
	const struct rings_counts *c;
	struct rings_full full;

	a->sinks.now_ns = now;
	a->sinks.observed_ns = agent_clock(CLOCK_REALTIME);
	if (look)
		a->look_ns = now + LOOK_MS * 1000000ull;
	if (reap)
		a->reap_ns = now + agent_reap_ms(a) * 1000000ull;
	rings_find(a->rings, look);
	full = rings_drain(a->rings, &sink, reap);
	c = rings_counts(a->rings);
	if (!a->told_dropped && (c->spans_dropped || c->lines_dropped)) {
		a->told_dropped = true;
		text_error(
			"agent: a program finds its ring full and drops spans or lines; a larger TRACESHIM_RING_SIZE helps");
	}
	/* What is read stays in the rings until it is safe, but must not fill them. */
	sinks_flush(&a->sinks, all || full.held >= HELD_PERCENT);
	rings_release(a->rings, sinks_safe(&a->sinks));
	return full.unread;
}

static void agent_wait(struct agent *a, int ms)
{
	struct curl_waitfd fds[6] = { 0 };
	struct signalfd_siginfo info;
	unsigned count = 0;
	int blocked = sinks_blocked(&a->sinks);
	int wanted[] = { a->signals, rings_descriptor(a->rings), a->parent_ended ? -1 : a->parent,
		         a->page ? page_descriptor(a->page) : -1,
		         a->metrics_page ? page_descriptor(a->metrics_page) : -1 };

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (wanted[i] >= 0)
			fds[count++] = (struct curl_waitfd){ .fd = wanted[i], .events = CURL_WAIT_POLLIN };
	if (blocked >= 0)
		fds[count++] = (struct curl_waitfd){ .fd = blocked, .events = CURL_WAIT_POLLOUT };
	curl_multi_poll(a->multi, fds, count, ms, NULL);
	for (unsigned i = 0; i < count; i++)
		if (fds[i].fd == a->parent && fds[i].revents) {
			a->parent_ended = true;
			a->times.ended = tree_clock();
		}
	while (read(a->signals, &info, sizeof(info)) == sizeof(info))
		a->asked++;
	if (a->page)
		page_step(a->page);
	if (a->metrics_page)
		page_step(a->metrics_page);
}

/* Has the tree that this agent is for ended? */
static bool agent_is_over(struct agent *a)
{
	uint64_t now = a->sinks.now_ns;

	if (!a->settings->for_pid || (a->parent >= 0 && !a->parent_ended) || now < a->tree_ns)
		return false;
	a->tree_ns = now + TREE_MS * 1000000ull;
	if (a->parent < 0 && kill(a->settings->for_pid, 0) == 0)
		return false; /* a kernel without pidfds */
	agent_drain(a, true); /* learns who is dead */
	if (!rings_have_live(a->rings) && !(a->settings->private_dir && tree_lives(a->settings->run_dir, &a->times))) {
		/* A process in the midst of an exec has no environment to be known by. */
		a->tree_ns = now + TREE_AGAIN_MS * 1000000ull;
		return a->gone++ > 0;
	}
	a->gone = 0;
	/* Something goes on in the background: whoever waits for the end of our messages should not wait for that. */
	if (isatty(STDERR_FILENO) != 1) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null >= 0) {
			dup2(null, STDERR_FILENO);
			close(null);
		}
	}
	return false;
}

/*
 * A signal for all of a service (systemd, docker) reaches the agent and its program at once: the program's last spans are still
 * to come, so it is waited for, as long as a flush may take.
 */
static bool agent_is_told_to_end(struct agent *a)
{
	if (sinks_reader_has_gone(&a->sinks))
		return true;
	if (!a->asked || !a->settings->for_pid || a->parent < 0 || a->parent_ended)
		return a->asked > 0;
	if (!a->asked_ns)
		a->asked_ns = a->sinks.now_ns;
	return a->asked > 1 || a->sinks.now_ns - a->asked_ns >= a->settings->flush_ms * 1000000ull;
}

static void agent_serve(struct agent *a)
{
	int ms, tree_ms;

	while (!agent_is_told_to_end(a)) {
		uint64_t before = rings_counts(a->rings)->spans + rings_counts(a->rings)->lines;
		unsigned full = agent_drain(a, false);
		int most = rings_have_live(a->rings) ? POLL_MAX_MS : POLL_NONE_MS;

		if (agent_is_over(a))
			return;
		if (full >= FULL_PERCENT)
			a->interval_ms = 0;
		else if (rings_counts(a->rings)->spans + rings_counts(a->rings)->lines != before)
			a->interval_ms = POLL_MIN_MS;
		else
			a->interval_ms = a->interval_ms ? a->interval_ms * 2 : POLL_MIN_MS;
		a->interval_ms = a->interval_ms < most ? a->interval_ms : most;
		ms = sinks_step(&a->sinks, a->interval_ms);
		tree_ms = a->gone ? TREE_AGAIN_MS : TREE_MS;
		agent_wait(a, a->parent_ended && ms > tree_ms ? tree_ms : ms);
	}
}

/* What is left: read it, send it, for a bounded time; asked again, it is the end at once. */
static void agent_finish(struct agent *a)
{
	uint64_t deadline = agent_clock(CLOCK_MONOTONIC) + a->settings->flush_ms * 1000000ull;
	unsigned asked = a->asked;

	agent_drain(a, true);
	agent_drain(a, true); /* what came while the first one wrote; the ends that it saw */
	for (;;) {
		int ms = sinks_step(&a->sinks, 100);

		sinks_flush(&a->sinks, true);
		if (sinks_are_idle(&a->sinks) || a->asked > asked)
			return;
		a->sinks.now_ns = agent_clock(CLOCK_MONOTONIC);
		if (a->sinks.now_ns >= deadline)
			return;
		agent_wait(a, ms);
	}
}

static void agent_close(struct agent *a)
{
	const struct rings_counts *c = a->rings ? rings_counts(a->rings) : NULL;
	uint64_t left;

	if (c && (c->spans_dropped || c->lines_dropped))
		text_error("agent: programs dropped %llu spans and %llu lines, because their rings were full",
		           (unsigned long long)c->spans_dropped, (unsigned long long)c->lines_dropped);
	page_close(a->page);
	page_close(a->metrics_page);
	left = sinks_close(&a->sinks);
	if (left)
		text_error(
			"agent: %llu spans and lines could not be sent yet; they wait in %s for the next agent (--run-dir %s)",
			(unsigned long long)left, a->settings->spool_dir, a->settings->run_dir);
	if (a->settings->private_dir && a->rings && !rings_have_live(a->rings))
		tree_remove(a->settings->run_dir);
	if (a->rings)
		rings_close(a->rings);
	curl_multi_cleanup(a->multi);
	curl_global_cleanup();
	if (a->signals >= 0)
		close(a->signals);
	if (a->parent >= 0)
		close(a->parent);
}

int agent_run(const struct settings *settings)
{
	struct agent a = { .settings = settings, .signals = -1, .parent = -1, .sinks.spool_dir = -1 };
	bool ok = agent_open(&a);

	if (ok) {
		agent_say_ready(&a);
		agent_serve(&a);
		agent_finish(&a);
	}
	agent_close(&a);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

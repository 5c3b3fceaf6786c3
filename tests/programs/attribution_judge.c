/*
 * Reads the log of a server in the attribution experiment from stdin, and judges each line: right, when its trace id is that
 * of the request whose number n the line names; none, when it has no trace id; wrong, when it has any other.
 *
 *   attribution_judge PROGRESS [fresh]
 *
 * PROGRESS is a file whose first eight bytes always say how many lines were read. At the end of input the counts go to
 * stdout, as JSON: by phase (n / 10,000,000) and by the line's first word. A line that names several requests is wrong if it
 * has an id; one that names none must not have an id of a request. A line that is no record has no id. A right line has a span
 * too: the one that all lines of its request have in its process, none of another one, and not the caller's; else it is wrong. With `fresh`,
 * where callers say no ids, any id will do that all lines of n have, and none of another number; it may be in lines without one.
 *
 * A line that its thread took over a second to write, or that there was no room for, comes in two records: the second, which is
 * empty, must be the same request's.
 *
 * Beside the counts: how often a line came twice (the same word for the same n), how many requests have a line with an id, and
 * how many were at work at a time: between their lines "begin" and "before", whenever one begins.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PHASES_MAX 32
#define WORDS_MAX 16
#define WORD_SIZE 24
#define PHASE_SIZE 10000000L
#define EXAMPLES 5
#define SPAN_HEX 16
#define TRACE_HEX 32
#define PROCESSES 2
#define THREADS 65536 /* by their number: one that comes again has ended its line */
/* How the span ids of callers begin (attribution_load.c). Less of it is met by chance: six digits once in 16 million ids. */
#define CALLER "ca11e7000"

struct counts {
	long right, none, wrong;
};

/* What was seen of a request. A process that it started has a span of its own. */
struct request {
	uint64_t ids[PROCESSES]; /* of the first lines that had one; 0: no more had */
	int32_t pids[PROCESSES];
	uint32_t words; /* a bit for each */
	bool told;
};

/* Of a phase. */
struct seen {
	struct request *requests; /* by n % PHASE_SIZE */
	size_t room;
	long told, at_work, begun, sum_at_work, most_at_work;
};

/* An id, and whose it is. */
struct owned {
	uint64_t id;
	long n;
};

static struct counts counts[PHASES_MAX][WORDS_MAX];
static char words[WORDS_MAX][WORD_SIZE];
static int word_count;
static struct seen seen[PHASES_MAX];
static long unfinished[THREADS]; /* whose line the thread has begun */
static long unnumbered, no_record, foreign, repeated;
static int examples;
static bool fresh;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void show(const char *what, const char *line, size_t len)
{
	if (examples++ < EXAMPLES)
		fprintf(stderr, "%s: %.*s\n", what, (int)(len < 500 ? len : 500), line);
}

/* The next "n=<digits>" that is a word of its own; -1: there is none. *at moves behind it. */
static long next_number(const char *line, size_t len, size_t *at)
{
	while (*at + 2 < len) {
		const char *found = memmem(line + *at, len - *at, "n=", 2);
		size_t i;

		if (found == NULL)
			break;
		i = (size_t)(found - line);
		*at = i + 2;
		if (i > 0 && (is_digit(line[i - 1]) || (line[i - 1] >= 'A' && line[i - 1] <= 'Z') ||
		              (line[i - 1] >= 'a' && line[i - 1] <= 'z')))
			continue;
		if (*at < len && is_digit(line[*at]))
			return atol(line + *at);
	}
	return -1;
}

/* The number of the message's first word. Some servers have signs in front of it ("<24 ms n=1"). */
static int word_of(const char *message)
{
	char word[WORD_SIZE] = "line";
	size_t len = 0;
	int i;

	if (message[0] == '<' || message[0] == '>')
		message += strcspn(message, " ") + (strchr(message, ' ') != NULL);

	while (len < WORD_SIZE - 1 && message[len] >= 'a' && message[len] <= 'z')
		len++;
	if (len > 0 && message[len] == ' ')
		memcpy(word, message, len), word[len] = '\0';
	for (i = 0; i < word_count; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	if (word_count == WORDS_MAX)
		return WORDS_MAX - 1;
	memcpy(words[word_count], word, WORD_SIZE);
	return word_count++;
}

static struct request *request_of(long n)
{
	struct seen *phase = &seen[n / PHASE_SIZE];
	size_t at = (size_t)(n % PHASE_SIZE), room = phase->room ? phase->room : 4096;

	while (room <= at)
		room *= 2;
	if (room > phase->room) {
		phase->requests = realloc(phase->requests, room * sizeof(*phase->requests));
		if (phase->requests == NULL)
			exit(2);
		memset(phase->requests + phase->room, 0, (room - phase->room) * sizeof(*phase->requests));
		phase->room = room;
	}
	return &phase->requests[at];
}

/* The number that `digits` hex digits in front of a quotation mark make, as far as 64 bits hold them; 0: there are others. */
static uint64_t hex_of(const char *text, size_t digits)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < digits; i++) {
		if (!is_digit(text[i]) && (text[i] < 'a' || text[i] > 'f'))
			return 0;
		value = value << 4 | (uint64_t)(is_digit(text[i]) ? text[i] - '0' : text[i] - 'a' + 10);
	}
	return text[digits] == '"' ? value : 0;
}

/* Is it the same id that the request's other lines in this process had? */
static bool is_its_own(struct request *request, uint64_t id, int32_t pid)
{
	int i;

	for (i = 0; i < PROCESSES && id != 0; i++) {
		if (request->ids[i] == 0) {
			request->ids[i] = id;
			request->pids[i] = pid;
			return true;
		}
		if (request->pids[i] == pid)
			return request->ids[i] == id;
	}
	return false;
}

/* Does the record `line`, with its trace behind `id`, carry the ids of n, and name n alone? `at` is behind its number. */
static bool is_right(const char *line, size_t len, size_t at, const char *id, long n)
{
	const char *span = strstr(line, "\"span_id\":\""), *pid = strstr(line, "\"pid\":");
	int32_t process = pid != NULL ? atoi(pid + strlen("\"pid\":")) : 0;
	char wanted[64];
	long other;

	while ((other = next_number(line, len, &at)) == n)
		;
	if (other >= 0 || strstr(id, "\"trace_id\":\"") != NULL)
		return false;
	if (fresh)
		return is_its_own(request_of(n), hex_of(id, TRACE_HEX), 0);
	sprintf(wanted, "7e57%012llx%016lx", (unsigned long long)n * 2654435761ull % (1ull << 48), (unsigned long)n);
	if (strncmp(id, wanted, TRACE_HEX) != 0 || id[TRACE_HEX] != '"' || span == NULL)
		return false;
	span += strlen("\"span_id\":\"");
	return strncmp(span, CALLER, strlen(CALLER)) != 0 && is_its_own(request_of(n), hex_of(span, SPAN_HEX), process);
}

/* Count that a line with this word was seen of n; how much is at work at a time. */
static void note(long n, int word, bool told)
{
	struct seen *phase = &seen[n / PHASE_SIZE];
	struct request *request = request_of(n);

	repeated += (request->words & 1u << word) != 0;
	request->words |= 1u << word;
	phase->told += told && !request->told;
	request->told = request->told || told;
	if (strcmp(words[word], "begin") == 0) {
		phase->begun++;
		phase->sum_at_work += ++phase->at_work;
		if (phase->at_work > phase->most_at_work)
			phase->most_at_work = phase->at_work;
	} else if (strcmp(words[word], "before") == 0) {
		phase->at_work--;
	}
}

static long *unfinished_of(const char *line)
{
	const char *tid = strstr(line, "\"tid\":");

	return &unfinished[tid != NULL ? atol(tid + strlen("\"tid\":")) % THREADS : 0];
}

/*
 * Is the record nothing but the end of a line whose first part is a record already? Then it is judged here. Where the first part had
 * no room to be kept until its end, the end does not say what it is.
 */
static bool ends_line(const char *line, size_t len)
{
	const char *id = strstr(line, "\"trace_id\":\"");
	long *begun = unfinished_of(line), n = *begun;

	if (strstr(line, "\"message\":\"\",") == NULL || (n <= 0 && strstr(line, "\"partial_last\":true") == NULL))
		return false;
	*begun = 0;
	if (id != NULL && (n <= 0 || !is_right(line, len, len, id + strlen("\"trace_id\":\""), n))) {
		foreign++;
		show("the end of another's line", line, len);
	}
	return true;
}

/* `line` ends in NUL at `len`. Returns whether it is a line of its own. */
static bool judge(const char *line, size_t len)
{
	const char *message = strstr(line, "\"message\":\""), *id = strstr(line, "\"trace_id\":\"");
	struct counts *count;
	int word;
	size_t at = 0;
	long n = next_number(line, len, &at);

	if (n < 0 && ends_line(line, len))
		return false;
	if (len < 2 || line[0] != '{' || line[len - 1] != '}' || message == NULL) {
		no_record++;
		message = line;
		id = NULL;
	} else {
		message += strlen("\"message\":\"");
	}
	id = id != NULL ? id + strlen("\"trace_id\":\"") : NULL;
	if (n < 0 || n / PHASE_SIZE >= PHASES_MAX) {
		unnumbered++;
		if (id != NULL && !fresh && strncmp(id, "7e57", 4) == 0) {
			foreign++;
			show("names no request", line, len);
		}
		return true;
	}
	if (strstr(line, "\"partial\":true") != NULL)
		*unfinished_of(line) = n;
	word = word_of(message);
	note(n, word, id != NULL);
	count = &counts[n / PHASE_SIZE][word];
	if (id == NULL) {
		count->none++;
	} else if (is_right(line, len, at, id, n)) {
		count->right++;
	} else {
		count->wrong++;
		show("wrong", line, len);
	}
	return true;
}

static int compare(const void *one, const void *other)
{
	const struct owned *a = one, *b = other;

	return a->id < b->id ? -1 : a->id > b->id;
}

/* What ids the requests of a phase have. */
static size_t gather(int phase, struct owned *all, size_t count)
{
	size_t i;
	int process;

	for (i = 0; i < seen[phase].room; i++)
		for (process = 0; process < PROCESSES && seen[phase].requests[i].ids[process] != 0; process++)
			all[count++] =
				(struct owned){ seen[phase].requests[i].ids[process], phase * PHASE_SIZE + (long)i };
	return count;
}

/* How many ids are those of several requests. */
static long count_shared(void)
{
	struct owned *all;
	size_t room = 1, count = 0, i;
	int phase;
	long shared = 0;

	for (phase = 0; phase < PHASES_MAX; phase++)
		room += seen[phase].room * PROCESSES;
	all = calloc(room, sizeof(*all));
	if (all == NULL)
		exit(2);
	for (phase = 0; phase < PHASES_MAX; phase++)
		count = gather(phase, all, count);
	qsort(all, count, sizeof(*all), compare);
	for (i = 1; i < count; i++) {
		if (all[i].id != all[i - 1].id)
			continue;
		shared++;
		if (examples++ < EXAMPLES)
			fprintf(stderr, "requests %ld and %ld have one id: %016lx\n", all[i - 1].n, all[i].n,
			        (unsigned long)all[i].id);
	}
	free(all);
	return shared;
}

static void print_phases(void)
{
	const char *between = "";
	int phase;

	printf("], \"phases_seen\": [");
	for (phase = 0; phase < PHASES_MAX; phase++) {
		const struct seen *of = &seen[phase];

		if (of->room == 0)
			continue;
		printf("%s\n {\"phase\": %d, \"told\": %ld, \"begun\": %ld, \"mean_at_work\": %.2f, \"most_at_work\": %ld}",
		       between, phase, of->told, of->begun, of->begun ? (double)of->sum_at_work / (double)of->begun : 0,
		       of->most_at_work);
		between = ",";
	}
}

static void print_results(void)
{
	const char *between = "";
	int phase, word;

	printf("{\"unnumbered\": %ld, \"no_record\": %ld, \"foreign\": %ld, \"repeated\": %ld, \"shared\": %ld, \"lines\": [",
	       unnumbered, no_record, foreign, repeated, count_shared());
	for (phase = 0; phase < PHASES_MAX; phase++) {
		for (word = 0; word < word_count; word++) {
			struct counts *count = &counts[phase][word];

			if (count->right + count->none + count->wrong == 0)
				continue;
			printf("%s\n {\"phase\": %d, \"word\": \"%s\", \"right\": %ld, \"none\": %ld, \"wrong\": %ld}",
			       between, phase, words[word], count->right, count->none, count->wrong);
			between = ",";
		}
	}
	print_phases();
	printf("]}\n");
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
	volatile uint64_t *progress;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (fd < 0 || ftruncate(fd, 8) != 0)
		return 2;
	fresh = argc > 2 && strcmp(argv[2], "fresh") == 0;
	progress = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (progress == MAP_FAILED)
		return 2;
	while ((len = getline(&line, &room, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		*progress += judge(line, (size_t)len);
	}
	print_results();
	return 0;
}

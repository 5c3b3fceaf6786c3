/*
 * Reads the log of a server in the attribution experiment from stdin, and judges each line: right, when its trace id is that
 * of the request whose number n the line names; none, when it has no trace id; wrong, when it has any other.
 *
 *   attribution_judge PROGRESS
 *
 * PROGRESS is a file whose first eight bytes always say how many lines were read. At the end of input the counts go to
 * stdout, as JSON: by phase (n / 10,000,000) and by the line's first word. A line that names several requests is wrong if it
 * has an id; one that names none must not have an id of a request. A line that is no record has no id.
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

struct counts {
	long right, none, wrong;
};

static struct counts counts[PHASES_MAX][WORDS_MAX];
static char words[WORDS_MAX][WORD_SIZE];
static int word_count;
static long unnumbered, no_record, foreign;
static int examples;

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

static int word_of(const char *message)
{
	char word[WORD_SIZE] = "line";
	size_t len = 0;
	int i;

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

/* Does the record `line`, with these ids behind `id`, carry those of n, and name n alone? */
static bool is_right(const char *line, size_t len, size_t at, const char *id, long n)
{
	char wanted[64];
	long other;

	while ((other = next_number(line, len, &at)) == n)
		;
	sprintf(wanted, "7e57%012llx%016lx", (unsigned long long)n * 2654435761ull % (1ull << 48), (unsigned long)n);
	return other < 0 && strncmp(id, wanted, 32) == 0 && id[32] == '"';
}

/* `line` ends in NUL at `len`. */
static void judge(const char *line, size_t len)
{
	const char *message = strstr(line, "\"message\":\""), *id = strstr(line, "\"trace_id\":\"");
	struct counts *count;
	size_t at = 0;
	long n = next_number(line, len, &at);

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
		if (id != NULL && strncmp(id, "7e57", 4) == 0) {
			foreign++;
			show("names no request", line, len);
		}
		return;
	}
	count = &counts[n / PHASE_SIZE][word_of(message)];
	if (id == NULL) {
		count->none++;
	} else if (is_right(line, len, at, id, n)) {
		count->right++;
	} else {
		count->wrong++;
		show("wrong", line, len);
	}
}

static void print_results(void)
{
	const char *between = "";
	int phase, word;

	printf("{\"unnumbered\": %ld, \"no_record\": %ld, \"foreign\": %ld, \"lines\": [", unnumbered, no_record,
	       foreign);
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
	progress = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (progress == MAP_FAILED)
		return 2;
	while ((len = getline(&line, &room, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		judge(line, (size_t)len);
		++*progress;
	}
	print_results();
	return 0;
}

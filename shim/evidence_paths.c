/*
 * Where in a job stands the connection that it is for? See evidence.c.
 *
 * Memory is not loaded from here, but asked of the kernel (os_copy): a word of a stack may be a pointer to what is no more. Ruled out:
 * to ask whether it is there, which is cheaper (a futex that has another value, a signal mask that nothing is done with), and to load
 * then: another thread may unmap it in between. The words themselves are the caller's own stack. All is bounded: ways have PATHS_DEPTH
 * steps at most, a step looks at BLOCK bytes, and an exploration, which happens a few dozen times in the life of a process, makes a
 * bounded number of system calls.
 *
 * Who may call: the thread whose stack it is. Memory: none of its own, but a block that evidence.c lends.
 */
#include "evidence_internal.h"

#include <string.h>

#include "os.h"

/* How much of a job, and of what it points to, is looked at: C++ objects have strings and locks in front. */
#define BLOCK 256u
#define STEP sizeof(uint32_t)

/* The last one is kernel's on every machine that has 48 bits of addresses. */
static bool is_pointer(uintptr_t word)
{
	return word >= OS_LOWEST_ADDRESS && word >> 47 == 0 && word % sizeof(uintptr_t) == 0;
}

/* The whole word that holds what stands there: it lies in one page, as a pointer does, and both halves of it. */
static uintptr_t word_of(uintptr_t at)
{
	return at & ~(sizeof(at) - 1);
}

/* Is the word at hand? `at` is word_of's. */
static bool is_read(uintptr_t at, const struct words *words, const struct paths_read *read, uintptr_t *value)
{
	size_t slot = (at - (uintptr_t)words->word) / sizeof(at);
	unsigned i;

	if (slot < words->count) {
		*value = words->word[slot];
		return true;
	}
	for (i = 0; i < read->count; i++)
		if (read->at[i] == at) {
			*value = read->value[i];
			return true;
		}
	return false;
}

static bool look_at(uintptr_t at, const struct words *words, struct paths_read *read, uintptr_t *value)
{
	struct iovec there = { (void *)at, sizeof(*value) };

	if (is_read(at, words, read, value))
		return true;
	if (evidence_core.copy(value, &there, 1) != (long)sizeof(*value))
		return false;
	if (read->count < PATHS_READ) {
		read->at[read->count] = at;
		read->value[read->count++] = *value;
	}
	return true;
}

/* Words that are to be read; none twice. */
struct wanted {
	unsigned count, room;
	struct iovec there[PATHS_READ];
};

static void want(struct wanted *wanted, uintptr_t at)
{
	unsigned i;

	for (i = 0; i < wanted->count; i++)
		if (wanted->there[i].iov_base == (void *)at)
			return;
	if (wanted->count < wanted->room)
		wanted->there[wanted->count++] = (struct iovec){ (void *)at, sizeof(at) };
}

static void read_all(const struct wanted *wanted, struct paths_read *read)
{
	long got = wanted->count == 0 ? 0 : evidence_core.copy(read->value + read->count, wanted->there, wanted->count);
	unsigned i;

	for (i = 0; i < wanted->count && (long)((i + 1) * sizeof(*read->value)) <= got; i++)
		read->at[read->count + i] = (uintptr_t)wanted->there[i].iov_base;
	read->count += i;
}

/* The word that the way comes to after so many others, as far as these are at hand; 0: it does not. */
static uintptr_t word_behind(unsigned others, const struct path *path, const struct words *words,
                             const struct paths_read *read)
{
	uintptr_t at, word = 0;
	unsigned i;

	if (path->slot >= words->count)
		return 0;
	at = words->word[path->slot];
	for (i = 0; i <= others; i++) {
		if ((i > 0 && !is_read(word, words, read, &at)) || !is_pointer(at))
			return 0;
		word = word_of(at + path->step[i] * STEP);
	}
	return word;
}

void paths_read_ahead(const struct path *path, unsigned count, const struct words *words, struct paths_read *read)
{
	struct wanted wanted;
	uintptr_t word, value;
	unsigned others, i;
	bool on = true;

	for (others = 0; on && others < PATHS_DEPTH; others++) {
		wanted.count = 0;
		wanted.room = PATHS_READ - read->count;
		on = false;
		for (i = 0; i < count; i++) {
			if (path[i].depth <= others)
				continue;
			on = true;
			word = word_behind(others, &path[i], words, read);
			if (word != 0 && !is_read(word, words, read, &value))
				want(&wanted, word);
		}
		read_all(&wanted, read);
	}
}

int paths_follow(const struct path *path, const struct words *words, struct paths_read *read)
{
	uintptr_t at, next;
	unsigned i;

	if (path->slot >= words->count)
		return -1;
	at = words->word[path->slot];
	if (path->depth == 0)
		return (int)(uint32_t)(path->step[0] == 0 ? at : at >> 32);
	for (i = 0; i < path->depth; i++) {
		if (!is_pointer(at))
			return -1;
		read->pointer[path->depth - 1 - i] = at;
		next = at + path->step[i] * STEP;
		if (!look_at(word_of(next), words, read, &at))
			return -1;
	}
	return (int)(uint32_t)(next == word_of(next) ? at : at >> 32);
}

struct exploration {
	struct candidate *found;
	unsigned count, room, copies;
};

static void try_number(struct exploration *e, struct path path, int fd)
{
	uint64_t request = evidence_core.request_at(fd);

	if (request > HANDOFF_UNSURE && e->count < e->room)
		e->found[e->count++] = (struct candidate){ path, request };
}

/* All numbers in a block. */
static void try_block(struct exploration *e, struct path path, const char *block, size_t len)
{
	size_t at;
	int fd;

	for (at = 0; at + sizeof(fd) <= len; at += sizeof(fd)) {
		memcpy(&fd, block + at, sizeof(fd));
		path.step[path.depth - 1] = (uint8_t)(at / STEP);
		try_number(e, path, fd);
	}
}

/*
 * What is `left` steps further than `from`. The more steps, the less of a block is looked at where they begin: smart pointers and
 * what std::function has are small.
 */
static __attribute__((noinline)) void try_pointer(struct exploration *e, struct path path, uintptr_t from,
                                                  unsigned left)
{
	char block[BLOCK];
	size_t len = left == 3 ? BLOCK / 4 : left == 2 && path.depth > 0 ? BLOCK / 2 : BLOCK, at;
	uintptr_t to;
	struct iovec there = { (void *)from, len };
	long got;

	if (e->copies == PATHS_COPIES)
		return;
	e->copies++;
	got = evidence_core.copy(block, &there, 1);
	len = got < 0 ? 0 : (size_t)got & ~(sizeof(to) - 1);
	path.depth++;
	if (left == 1) {
		try_block(e, path, block, len);
		return;
	}
	for (at = 0; at < len; at += sizeof(to)) {
		memcpy(&to, block + at, sizeof(to));
		path.step[path.depth - 1] = (uint8_t)(at / STEP);
		if (is_pointer(to))
			try_pointer(e, path, to, left - 1);
	}
}

static bool was_before(const struct words *words, unsigned slot)
{
	unsigned i;

	for (i = 0; i < slot; i++)
		if (words->word[i] == words->word[slot])
			return true;
	return false;
}

/* The same word elsewhere: from there the same ways lead on. Which of them are right by chance will be seen. */
static void repeat(struct exploration *e, const struct words *words, unsigned slot, unsigned first)
{
	unsigned last = e->count, other, i;

	for (other = slot + 1; other < words->count; other++) {
		if (words->word[other] != words->word[slot])
			continue;
		for (i = first; i < last && e->count < e->room; i++) {
			e->found[e->count] = e->found[i];
			e->found[e->count++].path.slot = (uint8_t)other;
		}
	}
}

unsigned paths_explore(struct candidate *found, unsigned room, const struct words *words)
{
	struct exploration e = { .found = found, .room = room };
	unsigned slot, level, first;

	for (slot = 0; slot < words->count; slot++) {
		struct path path = { .slot = (uint8_t)slot };

		try_number(&e, path, (int)(uint32_t)words->word[slot]);
		path.step[0] = 1;
		try_number(&e, path, (int)(uint32_t)(words->word[slot] >> 32));
	}
	for (level = 1; level <= PATHS_DEPTH; level++) {
		for (slot = 0; slot < words->count; slot++) {
			if (!is_pointer(words->word[slot]) || was_before(words, slot))
				continue;
			first = e.count;
			try_pointer(&e, (struct path){ .slot = (uint8_t)slot }, words->word[slot], level);
			repeat(&e, words, slot, first);
		}
	}
	return e.count;
}

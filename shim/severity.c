/*
 * Finding the level that a line states. long: one reader, the layouts that it knows, and what it remembers of the last lines.
 *
 * Mechanism. Loggers print a level in few places, and always in front of the message, behind nothing but other fields:
 * so the line is read token by token from its start, fields that loggers put first are passed over (timestamps, zones,
 * bracketed groups, dashes and bars, key=value pairs, `name - `), and the first token that is neither such a field nor a
 * level ends the search with 'none'. The rules lean to 'none': a missing level is a gap, a wrong one raises an alarm.
 *
 *   [error]  [core:error]  (INFO)      a bracketed word, any case
 *   ERROR …  ERROR: …  WARN|…          a bare word in capitals, first or behind such fields
 *   error: …                           a bare word of any case, if a colon follows
 *   - info - …   | info | …            a bare word of any case between separators
 *   level=warn  lvl="warn"  severity=  a pair, any case
 *   <3>…   E1122 18:01:43…   E, [2026… syslog's priority, glog, Ruby's Logger, at the very start
 *
 * A program's lines mostly begin alike, but for the digits of their time; and of digits it is never asked which ones they are, but
 * in syslog's priority. So a caller may keep the fronts of the last lines with their answers (struct severity_memo): all the bytes that
 * were looked at, by which each branch above was taken. For that every look notes how far it goes; one beyond the line's end, where
 * the answer hangs on its length, goes into no memo.
 *
 * Who may call: anybody, signal handlers included; nothing is kept but in the caller's memo. Only the first SEVERITY_WINDOW bytes
 * are read.
 * Source: RFC 5424 section 6.2.1 for <N>; the others are the default layouts of nginx, Apache, PHP, Python logging,
 * gunicorn, loguru, logback, log4j, Spring, java.util.logging, logrus, slog, zap, glog, env_logger, tracing, spdlog.
 */
#include "severity.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Words as the eight lower-case bytes at their front, zeros behind; the few longer ones are told by those and by len. */
#define WORD(a, b, c, d, e, f, g, h)                                                                                   \
	((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 | (uint64_t)(e) << 32 |        \
	 (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)

/* `front` of a word of `len` bytes; three to eleven. */
static enum severity level_of(uint64_t front, size_t len)
{
	switch (front) {
	case WORD('t', 'r', 'a', 'c', 'e', 0, 0, 0): return SEVERITY_TRACE;
	case WORD('d', 'e', 'b', 'u', 'g', 0, 0, 0): return SEVERITY_DEBUG;
	case WORD('d', 'b', 'g', 0, 0, 0, 0, 0): return SEVERITY_DEBUG;
	case WORD('i', 'n', 'f', 'o', 0, 0, 0, 0): return SEVERITY_INFO;
	case WORD('i', 'n', 'f', 0, 0, 0, 0, 0): return SEVERITY_INFO;
	case WORD('i', 'n', 'f', 'o', 'r', 'm', 'a', 't'): return len == 11 ? SEVERITY_INFO : SEVERITY_NONE;
	case WORD('n', 'o', 't', 'i', 'c', 'e', 0, 0): return SEVERITY_NOTICE;
	case WORD('w', 'a', 'r', 'n', 0, 0, 0, 0): return SEVERITY_WARN;
	case WORD('w', 'a', 'r', 'n', 'i', 'n', 'g', 0): return SEVERITY_WARN;
	case WORD('w', 'r', 'n', 0, 0, 0, 0, 0): return SEVERITY_WARN;
	case WORD('e', 'r', 'r', 'o', 'r', 0, 0, 0): return SEVERITY_ERROR;
	case WORD('e', 'r', 'r', 0, 0, 0, 0, 0): return SEVERITY_ERROR;
	case WORD('s', 'e', 'v', 'e', 'r', 'e', 0, 0): return SEVERITY_ERROR;
	case WORD('c', 'r', 'i', 't', 'i', 'c', 'a', 'l'): return len == 8 ? SEVERITY_CRITICAL : SEVERITY_NONE;
	case WORD('c', 'r', 'i', 't', 0, 0, 0, 0): return SEVERITY_CRITICAL;
	case WORD('f', 'a', 't', 'a', 'l', 0, 0, 0): return SEVERITY_FATAL;
	case WORD('a', 'l', 'e', 'r', 't', 0, 0, 0): return SEVERITY_FATAL;
	case WORD('e', 'm', 'e', 'r', 'g', 0, 0, 0): return SEVERITY_FATAL;
	case WORD('e', 'm', 'e', 'r', 'g', 'e', 'n', 'c'): return len == 9 ? SEVERITY_FATAL : SEVERITY_NONE;
	case WORD('p', 'a', 'n', 'i', 'c', 0, 0, 0): return SEVERITY_FATAL;
	default: return SEVERITY_NONE;
	}
}

/* What a byte may be part of: a number or time, a name in front of '=' or " - ". */
#define IN_TIME 1
#define IN_NAME 2
static const uint8_t byte_class[256] = {
	['0'] = 3, ['1'] = 3, ['2'] = 3, ['3'] = 3, ['4'] = 3, ['5'] = 3, ['6'] = 3, ['7'] = 3, ['8'] = 3,
	['9'] = 3, ['-'] = 3, [':'] = 3, ['.'] = 3, ['/'] = 3, [','] = 1, ['+'] = 1, ['T'] = 3, ['Z'] = 3,
	['#'] = 1, ['*'] = 1, ['_'] = 2, ['a'] = 2, ['b'] = 2, ['c'] = 2, ['d'] = 2, ['e'] = 2, ['f'] = 2,
	['g'] = 2, ['h'] = 2, ['i'] = 2, ['j'] = 2, ['k'] = 2, ['l'] = 2, ['m'] = 2, ['n'] = 2, ['o'] = 2,
	['p'] = 2, ['q'] = 2, ['r'] = 2, ['s'] = 2, ['t'] = 2, ['u'] = 2, ['v'] = 2, ['w'] = 2, ['x'] = 2,
	['y'] = 2, ['z'] = 2, ['A'] = 2, ['B'] = 2, ['C'] = 2, ['D'] = 2, ['E'] = 2, ['F'] = 2, ['G'] = 2,
	['H'] = 2, ['I'] = 2, ['J'] = 2, ['K'] = 2, ['L'] = 2, ['M'] = 2, ['N'] = 2, ['O'] = 2, ['P'] = 2,
	['Q'] = 2, ['R'] = 2, ['S'] = 2, ['U'] = 2, ['V'] = 2, ['W'] = 2, ['X'] = 2, ['Y'] = 2,
};

/* What a token is, by its first byte. */
enum token { TOKEN_NONE, TOKEN_WORD, TOKEN_GROUP, TOKEN_NUMBER, TOKEN_BAR, TOKEN_SIGN };
static const uint8_t token_of[256] = {
	['A' ... 'Z'] = TOKEN_WORD, ['a' ... 'z'] = TOKEN_WORD,   ['['] = TOKEN_GROUP, ['('] = TOKEN_GROUP,
	['+'] = TOKEN_NUMBER,       ['0' ... '9'] = TOKEN_NUMBER, ['-'] = TOKEN_BAR,   ['|'] = TOKEN_BAR,
	[':'] = TOKEN_SIGN,         [','] = TOKEN_SIGN,
};

static const char *skip_class(const char *p, const char *end, unsigned class)
{
	while (p < end && (byte_class[(unsigned char)*p] & class))
		p++;
	return p;
}

#ifdef __SSE2__
static inline __m128i load(const char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Bit i: byte i of the 16 is from `low` to `low` + `count`. */
static inline __m128i in_range(__m128i v, char low, char count)
{
	__m128i from = _mm_sub_epi8(v, _mm_set1_epi8(low));

	return _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(count)), from);
}

/* Bit i: byte i of the 16 is a letter. */
static inline unsigned find_letters(const char *p)
{
	return (unsigned)_mm_movemask_epi8(in_range(_mm_or_si128(load(p), _mm_set1_epi8(0x20)), 'a', 25));
}
#endif

/* skip_class of IN_TIME: most lines of a server begin with an address or a date. */
static inline const char *skip_time(const char *p, const char *end)
{
#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		/* '*' to ':' are digits and all signs but '#'. */
		__m128i v = load(p),
			time = _mm_or_si128(in_range(v, '*', ':' - '*'), _mm_cmpeq_epi8(v, _mm_set1_epi8('#')));
		unsigned others;

		time = _mm_or_si128(time, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('T')),
		                                       _mm_cmpeq_epi8(v, _mm_set1_epi8('Z'))));
		others = (unsigned)_mm_movemask_epi8(time) ^ 0xffff;
		if (others)
			return p + __builtin_ctz(others);
	}
#endif
	return skip_class(p, end, IN_TIME);
}

static inline bool is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

static inline bool is_upper(char c)
{
	return (unsigned char)(c - 'A') < 26;
}

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* Does a level begin with this lower-case letter? */
static inline bool is_first_letter(char c)
{
#define LETTER(c) (1u << ((c)&31))
	return (LETTER('i') | LETTER('e') | LETTER('w') | LETTER('d') | LETTER('t') | LETTER('n') | LETTER('f') |
	        LETTER('c') | LETTER('a') | LETTER('p') | LETTER('s')) >>
	               (c & 31) &
	       1;
#undef LETTER
}

/* A word of letters. */
static enum severity find_word(const char *p, size_t len)
{
	uint64_t front = 0;
	size_t i;

	if (len < 3 || len > 11 || !is_first_letter(*p))
		return SEVERITY_NONE;
	for (i = len < 8 ? len : 8; i-- > 0;)
		front = front << 8 | (unsigned char)(p[i] | 0x20);
	return level_of(front, len);
}

/* The end of the letters at p, and the level that they name. */
static inline const char *read_word(const char *p, const char *end, enum severity *s)
{
	const char *to = p;

#if defined(__SSE2__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (end - p >= 16) {
		size_t len = (size_t)__builtin_ctz(~find_letters(p));
		uint64_t front;

		if (len < 16) {
			memcpy(&front, p, 8);
			front |= 0x2020202020202020u;
			if (len < 8)
				front &= ((uint64_t)1 << 8 * len) - 1;
			*s = len < 3 || len > 11 ? SEVERITY_NONE : level_of(front, len);
			return p + len;
		}
		to = p + 16;
	}
#endif
	while (to < end && is_letter(*to))
		to++;
	*s = find_word(p, (size_t)(to - p));
	return to;
}

static const char *skip_letters(const char *p, const char *end)
{
	while (p < end && is_letter(*p))
		p++;
	return p;
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* Terminal colours ("\033[31m"), and the blanks around them. */
static __attribute__((cold)) __attribute__((noinline)) const char *skip_colours(const char *p, const char *end)
{
	while (p < end && *p == '\033') {
		if (end - p < 3 || p[1] != '[')
			return p;
		for (p += 2; p < end && (is_digit(*p) || *p == ';'); p++)
			;
		if (p < end)
			p++;
		p = skip_blanks(p, end);
	}
	return p;
}

static inline const char *skip_unseen(const char *p, const char *end)
{
	p = skip_blanks(p, end);
	return __builtin_expect(p < end && *p == '\033', 0) ? skip_colours(p, end) : p;
}

static __attribute__((cold)) enum severity syslog_priority(const char *p, const char *end)
{
	static const uint8_t levels[8] = { SEVERITY_FATAL, SEVERITY_FATAL,  SEVERITY_CRITICAL, SEVERITY_ERROR,
		                           SEVERITY_WARN,  SEVERITY_NOTICE, SEVERITY_INFO,     SEVERITY_DEBUG };
	unsigned value = 0;
	const char *q;

	for (q = p + 1; q < end && q < p + 4 && is_digit(*q); q++)
		value = value * 10 + (unsigned)(*q - '0');
	if (q == p + 1 || q == end || *q != '>' || value > 191)
		return SEVERITY_NONE;
	return (enum severity)levels[value & 7];
}

/* Layouts that begin with one letter: glog's "E1122 18:01:43.123456 " and Ruby's "E, [2026-11-22T". */
static __attribute__((cold)) __attribute__((noinline)) enum severity letter_layout(const char *p, const char *end)
{
	static const char letters[] = "DIWEF";
	static const uint8_t levels[] = { SEVERITY_DEBUG, SEVERITY_INFO, SEVERITY_WARN, SEVERITY_ERROR,
		                          SEVERITY_FATAL };
	const char *which;
	int i;

	if (end - p < 9)
		return SEVERITY_NONE;
	which = memchr(letters, p[0], 5);
	if (!which)
		return SEVERITY_NONE;
	if (p[1] == ',' && p[2] == ' ' && p[3] == '[' && is_digit(p[4]))
		return (enum severity)levels[which - letters];
	for (i = 1; i <= 4; i++) {
		if (!is_digit(p[i]))
			return SEVERITY_NONE;
	}
	if (p[5] != ' ' || !is_digit(p[6]) || !is_digit(p[7]) || p[8] != ':')
		return SEVERITY_NONE;
	return (enum severity)levels[which - letters];
}

/*
 * Can a level stand in a group? It is three letters or more in front of the group's end or a blank: nearly all groups that
 * hold none (dates, numbers, names) are told by their letters alone. `letters`: of at most 32 bytes, bit by bit.
 */
static inline bool may_hold_level(const char *p, const char *end, uint32_t letters)
{
	for (letters &= letters >> 1 & letters >> 2; letters; letters &= letters - 1) {
		const char *to = p + (unsigned)__builtin_ctz(letters) + 3;

		if (to == end || *to == ' ' || *to == '\t')
			return true;
	}
	return false;
}

/* The inside of a bracketed group: a level alone, behind a colon (Apache's core:error), or in capitals among others. */
static __attribute__((cold)) enum severity in_brackets(const char *p, const char *end)
{
	enum severity s = SEVERITY_NONE;

	while (p < end && s == SEVERITY_NONE) {
		const char *from = p, *to;
		bool alone, capitals;

		if (!is_letter(*p)) {
			p++;
			continue;
		}
		p = to = skip_letters(p, end);
		capitals = is_upper(from[0]) && is_upper(to[-1]);
		alone = skip_blanks(to, end) == end;
		if ((alone || capitals) && (to == end || *to == ' ' || *to == '\t'))
			s = find_word(from, (size_t)(to - from));
		while (p < end && *p != ' ' && *p != ':' && *p != '\t')
			p++;
	}
	return s;
}

/* The value of a pair, behind its '='. `*next` is set to the byte behind the value. */
static __attribute__((cold)) enum severity pair_value(const char *p, const char *end, bool is_level, const char **next)
{
	const char *close, *word_end;

	if (p < end && *p == '"') {
		close = memchr(p + 1, '"', (size_t)(end - p - 1));
		*next = close ? close + 1 : end;
		p++;
	} else {
		for (close = p; close < end && *close != ' ' && *close != '\t'; close++)
			;
		*next = close;
	}
	if (!is_level)
		return SEVERITY_NONE;
	word_end = skip_letters(p, end);
	return find_word(p, (size_t)(word_end - p));
}

static bool is_level_key(const char *p, size_t len)
{
	return (len == 5 && memcmp(p, "level", 5) == 0) || (len == 3 && memcmp(p, "lvl", 3) == 0) ||
	       (len == 8 && memcmp(p, "severity", 8) == 0) || (len == 8 && memcmp(p, "loglevel", 8) == 0);
}

/* What the answer hangs on reaches to `to`. */
static inline void note_look(const char **looked, const char *to)
{
	if (to > *looked)
		*looked = to;
}

/* Is there " - " or " | " at p, perhaps behind padding? */
static bool is_separator(const char *p, const char *end)
{
	const char *q = skip_blanks(p, end);

	return q > p && end - q >= 2 && (*q == '-' || *q == '|') && (q[1] == ' ' || q[1] == '\t');
}

/* Does a word that ends at `to`, named as a level, stand as one? */
static bool stands_as_level(const char *from, const char *to, const char *end, bool separated)
{
	if (to < end && *to == ':')
		return true;
	if (separated && is_separator(to, end))
		return true;
	if (!is_upper(from[0]) || !is_upper(to[-1]))
		return false;
	/* "TRACE /path" is a request line. */
	return to == end || (*to == ' ' && !(end - to > 1 && to[1] == '/')) || memchr("\t|[\033", *to, 4);
}

/*
 * A token that begins with a letter. Returns the level, or SEVERITY_NONE with *next behind what can be passed over, or
 * *next NULL when the message has begun.
 */
static __attribute__((cold)) __attribute__((noinline)) enum severity word_token(const char *p, const char *end,
                                                                                bool fields_before, bool separated,
                                                                                const char **next, const char **looked)
{
	enum severity s;
	const char *to = read_word(p, end, &s), *rest;

	*next = NULL;
	if (s != SEVERITY_NONE) {
		note_look(looked, to + 8);                   /* " error:" */
		note_look(looked, skip_blanks(to, end) + 2); /* is_separator */
		if (s == SEVERITY_FATAL && end - to > 7 && memcmp(to, " error:", 7) == 0)
			return s;
		if (stands_as_level(p, to, end, separated))
			return s;
	}
	rest = skip_class(to, end, IN_NAME);
	note_look(looked, skip_blanks(rest, end) + 2); /* is_separator; and a digit there */
	if (rest < end && *rest == '=') {
		s = pair_value(rest + 1, end, is_level_key(p, (size_t)(rest - p)), next);
		note_look(looked, *next + 1);
		return s;
	}
	if (s != SEVERITY_NONE)
		return SEVERITY_NONE;
	if (to - p == 3 && memcmp(p, "PHP", 3) == 0 && to < end && *to == ' ')
		*next = to;
	else if (fields_before && is_separator(rest, end))
		*next = rest;
	else if (fields_before && to == rest && to - p <= 5 && is_upper(p[0]) && is_upper(to[-1]) && to < end &&
	         *to == ' ')
		*next = to; /* a time zone: "UTC" */
	else if (to - p == 3 && end - to > 2 && *to == ' ' && is_digit(*skip_blanks(to, end - 1)))
		*next = to; /* a month: "Nov 22" */
	return SEVERITY_NONE;
}

static __attribute__((cold)) __attribute__((noinline)) enum severity any_group(const char *p, const char *end,
                                                                               const char **next)
{
	const char *close = memchr(p, p[-1] == '[' ? ']' : ')', (size_t)(end - p));

	*next = close ? close + 1 : NULL;
	return close && close - p >= 3 ? in_brackets(p, close) : SEVERITY_NONE;
}

/* A bracketed group, p behind its bracket. *next is behind it, or NULL when it does not close in sight. */
static inline enum severity group_token(const char *p, const char *end, const char **next)
{
#ifdef __SSE2__
	if (end - p >= 32) {
		__m128i bracket = _mm_set1_epi8(p[-1] == '[' ? ']' : ')');
		uint32_t ends = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load(p), bracket)) |
		                (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load(p + 16), bracket)) << 16;

		if (ends) {
			const char *close = p + __builtin_ctz(ends);
			uint32_t letters = find_letters(p) | find_letters(p + 16) << 16;

			*next = close + 1;
			/* Below the lowest bit of `ends`. */
			return may_hold_level(p, close, letters & (ends - 1) & ~ends) ? in_brackets(p, close) :
			                                                                SEVERITY_NONE;
		}
	}
#endif
	return any_group(p, end, next);
}

/* The end of a time, a date, a number. NULL: "12ms" and the like have begun the message. */
static const char *number_token(const char *p, const char *end, const char **looked)
{
	const char *next = skip_time(p + 1, end);

	note_look(looked, next + 7);
	return next < end && is_letter(*next) ? NULL : next;
}

/* *looked: grows to what the answer hangs on. */
static __attribute__((cold)) __attribute__((noinline)) enum severity read_tokens(const char *line, size_t len,
                                                                                 const char **looked)
{
	const char *end = line + (len < SEVERITY_WINDOW ? len : SEVERITY_WINDOW);
	const char *p = skip_unseen(line, end), *next = NULL;
	bool fields = false, separated = false;
	enum severity s = SEVERITY_NONE;

	note_look(looked, p + 2);
	if (p == end)
		return SEVERITY_NONE;
	if (*p == '<') {
		*looked = end + 1; /* its digits count */
		return syslog_priority(p, end);
	}
	if (is_upper(p[0]) && end - p > 1 && (p[1] == ',' || is_digit(p[1]))) {
		note_look(looked, p + 9);
		s = letter_layout(p, end);
	}
	for (; p < end && s == SEVERITY_NONE; p = skip_unseen(next, end)) {
		enum token token = token_of[(unsigned char)*p];
		const char *group = p + 1; /* the inside of one, if it is one */

		note_look(looked, p + 3); /* skip_colours */
		switch (token) {
		case TOKEN_WORD: s = word_token(p, end, fields, separated, &next, looked); break;
		case TOKEN_GROUP: break;
		case TOKEN_NUMBER:
			next = number_token(p, end, looked);
			if (next == NULL)
				return SEVERITY_NONE;
			/* An access line's client, whom nobody identified: two fields and a group. */
			if (end - next > 6 && memcmp(next, " - - [", 6) == 0) {
				group = next + 6;
				token = TOKEN_GROUP;
			}
			break;
		case TOKEN_BAR:
		case TOKEN_SIGN:
			for (next = p + 1; next < end && *next == *p; next++)
				;
			break;
		case TOKEN_NONE: return SEVERITY_NONE;
		}
		if (token == TOKEN_GROUP)
			s = group_token(group, end, &next);
		/* A group that does not close, or a word that ended the search and has noted by itself what it looked at. */
		if (next == NULL) {
			if (token == TOKEN_GROUP)
				*looked = end + 1;
			return s;
		}
		note_look(looked, next + 1);
		fields = true;
		separated = token == TOKEN_BAR;
	}
	if (s == SEVERITY_NONE)
		*looked = end + 1;
	return s;
}

/*
 * A level in front of all else, which many lines begin with, told by their first 16 bytes. What is not told so, is by the
 * tokens.
 */
static inline enum severity first_word(const char *line, const char **looked)
{
#if defined(__SSE2__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	unsigned len = (unsigned)__builtin_ctz(~find_letters(line));
	enum severity s;
	uint64_t front;

	note_look(looked, line + (len > 8 ? 9 : len + 2));
	if (len < 3 || len > 8)
		return SEVERITY_NONE;
	memcpy(&front, line, 8);
	s = level_of((front | 0x2020202020202020u) & UINT64_MAX >> (64 - 8 * len), len);
	if (s == SEVERITY_NONE || line[len] == ':')
		return s;
	/* As stands_as_level says. */
	return is_upper(line[0]) && is_upper(line[len - 1]) && line[len] == ' ' && line[len + 1] != '/' ? s :
	                                                                                                  SEVERITY_NONE;
#else
	(void)line, (void)looked;
	return SEVERITY_NONE;
#endif
}

static __attribute__((noinline)) enum severity detect(const char *line, size_t len, const char **looked)
{
	enum severity s = SEVERITY_NONE;

	*looked = line + 1;
	if (len >= 16 && is_letter(*line) && is_first_letter(*line))
		s = first_word(line, looked);
	return s != SEVERITY_NONE ? s : read_tokens(line, len, looked);
}

enum severity severity_detect(const char *line, size_t len)
{
	const char *looked;

	return detect(line, len, &looked);
}

#ifdef __SSE2__
/* The same bytes, with a zero for each digit. */
static inline __m128i without_digits(__m128i v)
{
	__m128i from = _mm_sub_epi8(v, _mm_set1_epi8('0'));

	return _mm_sub_epi8(v, _mm_and_si128(from, in_range(v, '0', 9)));
}

static inline bool is_alike(const struct severity_memo *memo, unsigned k, const char *line)
{
	const __m128i *front = (const __m128i *)(const void *)memo->front[k];
	__m128i same = _mm_cmpeq_epi8(without_digits(load(line)), *front);
	unsigned room = memo->kind[k].room, alike = 0xffff;

	for (; room > 16; room -= 16, line += 16) {
		alike &= (unsigned)_mm_movemask_epi8(same);
		same = _mm_cmpeq_epi8(without_digits(load(line + 16)), *++front);
	}
	return (alike & ((unsigned)_mm_movemask_epi8(same) | memo->kind[k].ignored)) == 0xffff;
}

static __attribute__((cold)) __attribute__((noinline)) void keep(struct severity_memo *memo, unsigned k,
                                                                 const char *line, size_t looked, enum severity s)
{
	size_t room = (looked + 15) & ~(size_t)15, i;

	for (i = 0; i < room; i += 16)
		_mm_storeu_si128((__m128i *)(void *)(memo->front[k] + i), without_digits(load(line + i)));
	memo->kind[k].ignored = (uint16_t)(0xffff0000u >> (room - looked));
	memo->kind[k].level = (uint8_t)s;
	memo->kind[k].room = (uint8_t)room;
}

static enum severity detect_unlike(struct severity_memo *memo, const char *line, size_t len)
{
	const char *looked;
	enum severity s = detect(line, len, &looked);
	size_t n = (size_t)(looked - line);
	unsigned k = memo->kind[0].room == 0 ? 0 : !memo->last;

	/* Not for one line in between; and where lines begin otherwise each time, more and more seldom. */
	memo->unlike++;
	if ((memo->kind[k].room == 0 || (memo->unlike > 1 && (memo->unlike & (memo->unlike - 1)) == 0)) &&
	    n <= SEVERITY_MEMO && len >= ((n + 15) & ~(size_t)15))
		keep(memo, k, line, n, s);
	return s;
}

_Static_assert(SEVERITY_KINDS == 2, "one and the other");

/* Is the line of kind k? Not of less than `room`, which is not 0. */
static inline __attribute__((always_inline)) bool is_of_kind(struct severity_memo *memo, unsigned k, const char *line,
                                                             size_t len)
{
	if ((size_t)memo->kind[k].room - 1 >= len || !is_alike(memo, k, line))
		return false;
	memo->unlike = 0;
	return true;
}

static __attribute__((noinline)) enum severity detect_other(struct severity_memo *memo, const char *line, size_t len)
{
	unsigned k = !memo->last;

	if (!is_of_kind(memo, k, line, len))
		return detect_unlike(memo, line, len);
	memo->last = (uint8_t)k;
	return (enum severity)memo->kind[k].level;
}

enum severity severity_detect_again(struct severity_memo *memo, const char *line, size_t len)
{
	unsigned k = memo->last;

	return __builtin_expect(is_of_kind(memo, k, line, len), 1) ? (enum severity)memo->kind[k].level :
	                                                             detect_other(memo, line, len);
}
#else
enum severity severity_detect_again(struct severity_memo *memo, const char *line, size_t len)
{
	(void)memo;
	return severity_detect(line, len);
}
#endif

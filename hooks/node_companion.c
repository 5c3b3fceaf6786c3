/*
 * The companion's seal. See node_companion.h.
 *
 * Everything in the companion stands in a try, but for one thing: a file that does not parse, because an update was cut short or
 * the disk was full, ends every Node that is told to load it. So the build seals it (Makefile): its last line names the
 * version, and what cksum(1) says of all bytes before that line. Without a seal that holds, Node is not told of the file at all.
 * Ruled out: a second file that loads the first within a try. It can be cut short as well, and costs a tenth of a
 * millisecond more; and a script of another version is as wrong as none.
 */
#include "node_companion.h"

#include <string.h>
#include <sys/stat.h>

#include "os.h"
#include "real.h"

#define SEAL "// sealed " TRACESHIM_VERSION " "
/* "CHECKSUM LENGTH\n" behind it. */
#define NUMBERS_MAX 24u
/* Far more than it will ever have. */
#define COMPANION_MAX (1024u * 1024)

/* The checksum of POSIX cksum: four bits at a time, because a table for eight would be as large as all this code. */
static uint32_t add_byte(uint32_t sum, uint8_t byte)
{
	static const uint32_t table[16] = {
		0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b, 0x1a864db2, 0x1e475005,
		0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61, 0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
	};

	sum = sum << 4 ^ table[sum >> 28 ^ byte >> 4];
	return sum << 4 ^ table[sum >> 28 ^ (byte & 15)];
}

static uint32_t checksum(const char *text, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum = add_byte(sum, (uint8_t)text[i]);
	for (i = len; i > 0; i >>= 8)
		sum = add_byte(sum, (uint8_t)i);
	return ~sum;
}

/* A decimal number and the byte behind it. */
static bool take_number(const char **at, const char *end, char behind, uint64_t *number)
{
	const char *from = *at;

	for (*number = 0; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		*number = *number * 10 + (uint64_t)(**at - '0');
	return *at > from && *at < end && *(*at)++ == behind;
}

static bool seal_holds(const char *text, size_t len)
{
	const char *end = text + len, *at = end, *seal;
	uint64_t sum, sealed;
	unsigned blanks = 0;

	/* Back to the end of the words: the second blank from the end of the file. */
	while (at > text && end - at < (ptrdiff_t)NUMBERS_MAX && (blanks += at[-1] == ' ') < 2)
		at--;
	if (blanks < 2 || (size_t)(at - text) < sizeof(SEAL) - 1)
		return false;
	seal = at - (sizeof(SEAL) - 1);
	return memcmp(seal, SEAL, sizeof(SEAL) - 1) == 0 && take_number(&at, end, ' ', &sum) &&
	       take_number(&at, end, '\n', &sealed) && at == end && sealed == (uint64_t)(seal - text) &&
	       sum == checksum(text, (size_t)sealed);
}

static bool read_all(int fd, char *to, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = REAL(read)(fd, to + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

bool node_companion_whole(const char *path)
{
	int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool whole = false;
	struct stat st;

	if (fd < 0)
		return false;
	if (os_fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= COMPANION_MAX) {
		size_t len = (size_t)st.st_size;
		char *text = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (text != MAP_FAILED) {
			whole = read_all(fd, text, len) && seal_holds(text, len);
			(void)os_unmap(text, len);
		}
	}
	(void)REAL(close)(fd);
	return whole;
}

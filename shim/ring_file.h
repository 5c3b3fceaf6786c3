/*
 * The file of a ring (ring_format.h): made, filled and mapped. What is written to it is ring.c's.
 */
#ifndef TRACESHIM_RING_FILE_H
#define TRACESHIM_RING_FILE_H

#include <stdint.h>

#include "ring_format.h"

/* What the files of a process have in common. All zero at first, and again in the child of a fork. */
struct ring_files {
	uint64_t start_ticks; /* atomic; of this process */
	uint64_t retry_ms;    /* atomic: no ring is made before; 0: at once */
	uint32_t number;      /* atomic: of the next file */
};

/*
 * A new file of `capacity` bytes of entries under its name, and mapped. NULL: errno; for some time nothing is tried then. Signal-safe; asks
 * the kernel for a dozen things.
 */
struct ring_header *ring_file_make(struct ring_files *all, uint32_t capacity);

#endif

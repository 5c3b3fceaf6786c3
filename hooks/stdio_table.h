/*
 * The hook on libc's own streams; see stdio.c.
 */
#ifndef TRACESHIM_STDIO_TABLE_H
#define TRACESHIM_STDIO_TABLE_H

#include <stdio.h>

/* Point the slots of libc's file tables at us, or count stdio_unhooked. Constructor only. */
void stdio_hook(void);

/* Make libc ask the kernel for the stream's position the next time it needs it (_IO_pos_BAD in _offset). */
static inline void stdio_forget_offset(FILE *stream)
{
	stream->_offset = -1;
}

#endif

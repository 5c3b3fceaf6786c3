/*
 * Which files are logs: told by identity (st_dev, st_ino), never by descriptor number. nginx re-opens /dev/stdout as
 * fd 3, Apache logs to fd 5 to 8, and in inetd's children fd 1 is the HTTP connection.
 */
#ifndef TRACESHIM_LOGFILES_H
#define TRACESHIM_LOGFILES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "record.h"

/*
 * Take note of the tree's stdout and stderr: those that config.stdio_files names, else this process's own descriptors 1
 * and 2 (it is then the first of its tree). Constructor only.
 */
void logfiles_init(void);

/* The identities as "dev:ino[:birth],dev:ino[:birth]" for the environment of children (TRACESHIM_STDIO), NUL-terminated; "" for none. */
#define LOGFILES_TEXT 136
void logfiles_format(char text[LOGFILES_TEXT]);

/*
 * Is this descriptor a log stream? `st` is its fstat. Returns the index of the log file for logline_write, and sets
 * *stream; -1 when it is none; LOGFILES_BUSY when it is one that cannot be added just now: not to be remembered. May read
 * /proc/self/fd for TRACESHIM_LOG_FILES. Signal-safe; changes errno.
 */
#define LOGFILES_BUSY (-2)
int logfiles_match(int fd, const struct stat *st, enum record_stream *stream);

/* Is this descriptor a log stream? Takes no note of it. For the constructor; changes errno. */
bool logfiles_has(int fd);

/* A descriptor that is open on this log file now, or -1. For logline_flush_*; looks at few descriptors. */
#define LOGFILES_FDS 64
int logfiles_fd_of(unsigned file);

/* Is no other descriptor (of those that logfiles_fd_of looks at) known to be open on this log file? */
bool logfiles_is_last(unsigned file, int fd);

/* Was there a log file yet? */
bool logfiles_any(void);

/* In the child of a fork. */
void logfiles_after_fork(void);

#endif

/*
 * What a descendant needs in its environment to be traced as this process is.
 */
#ifndef TRACESHIM_ENVIRONMENT_H
#define TRACESHIM_ENVIRONMENT_H

#include <stddef.h>

/* LD_PRELOAD and the configuration, as they were when this process started. */
#define ENVIRONMENT_RESTORED_MAX 40

/* Remember the entries worth restoring. The strings are copied. Constructor only. */
void environment_remember(char *const envp[]);

/*
 * "TRACESHIM_STDIO=..." for descendants: which files are the tree's stdout and stderr (logfiles.h). Belongs to us, constant;
 * NULL when logs are not rewritten.
 */
char *environment_stdio(void);

/* Put the remembered entries into `entries`; they belong to us and stay. Returns how many (0..ENVIRONMENT_RESTORED_MAX). */
size_t environment_restore(char *entries[]);

#endif

/*
 * Functions of the objects behind ours, where there is no dlsym to ask.
 */
#ifndef TRACESHIM_LOOKUP_H
#define TRACESHIM_LOOKUP_H

/* As dlsym(RTLD_NEXT, name), with the default version; NULL: none has it. Functions only, none that its library chooses (IFUNC). */
void *lookup_next(const char *name);

#endif

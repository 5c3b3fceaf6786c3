/*
 * Which versions of libc's functions the object asks for: the oldest, because a version that the host's libc lacks keeps every
 * program from starting. What glibc 2.34 moved from libdl and libpthread into libc has both versions there. Before that these
 * are in libraries that a program may not have: so they are weak, and whoever calls one looks first.
 *
 * For the object alone (Makefile): sanitizers have functions of their own in front of some of these.
 */
#ifndef TRACESHIM_LIBC_VERSIONS_H
#define TRACESHIM_LIBC_VERSIONS_H

#include <dlfcn.h>
#include <pthread.h>

#pragma weak dlvsym /* musl has none, and no versions */
#pragma weak dladdr
#pragma weak pthread_key_create
#pragma weak pthread_setspecific

#if defined(TRACESHIM_OBJECT) && defined(__x86_64__) && defined(__GLIBC__)
__asm__(".symver dlvsym, dlvsym@GLIBC_2.2.5");
__asm__(".symver dladdr, dladdr@GLIBC_2.2.5");
__asm__(".symver pthread_key_create, pthread_key_create@GLIBC_2.2.5");
__asm__(".symver pthread_setspecific, pthread_setspecific@GLIBC_2.2.5");
#endif

#endif

/*
 * Where the object's memory lies. A page that a process touches at its start costs it more than a hundred instructions a
 * byte of it that is used: the kernel finds it, clears it and maps it in. So what every process uses comes first, on the page
 * where the initialised data ends; then the store of the configuration's text, of which most use so little that it fits on
 * that page too; behind it what is not needed before the first line, connection or event to be told: what is small, then two
 * tables of which most processes use the beginning alone, then what is large and mostly not used at all, so that what is small
 * lies on few pages. The linker sorts by these names (--sort-section=name).
 */
#ifndef TRACESHIM_LAYOUT_H
#define TRACESHIM_LAYOUT_H

#define LAYOUT_STORE __attribute__((section(".bss.zx_store")))
#define LAYOUT_STATUS __attribute__((section(".bss.zy_status")))
#define LAYOUT_LATER __attribute__((section(".bss.zz_later")))
#define LAYOUT_CHUNKS __attribute__((section(".bss.zzw_chunks")))
#define LAYOUT_WORDS __attribute__((section(".bss.zzx_words")))
#define LAYOUT_LARGE __attribute__((section(".bss.zzz_large")))

/* Code that every start runs: beside the constants, in front of the rest (hooks/object.ld). */
#define LAYOUT_START __attribute__((section(".text.startup")))

/*
 * A function that runs for each request or line, and that gcc takes for one that is hardly ever called, which it does of some when it sees
 * the object whole: it would be built for size, with `rep movs`, `rep stos` and `div` in place of moves and multiplications. Each
 * is one instruction where they are counted, and tens of cycles.
 */
#define LAYOUT_HOT __attribute__((hot))

/*
 * Of a few instructions, and run many times a request: part of whatever calls it, which gcc does not see by itself while it keeps
 * the object small. Not where all is built for size (OBJECT_SMALL in the Makefile), unless the file says that its calls are many
 * (LAYOUT_MANY_CALLS, before anything is included).
 */
#if defined(__OPTIMIZE_SIZE__) && !defined(LAYOUT_MANY_CALLS)
#define LAYOUT_INLINE inline
#else
#define LAYOUT_INLINE inline __attribute__((always_inline))
#endif

/* The same of a function in a .c file, which the linker builds into its callers in other files: the object is optimized as one. */
#ifdef TRACESHIM_OBJECT
#define LAYOUT_BUILT_IN inline __attribute__((always_inline))
#else
#define LAYOUT_BUILT_IN
#endif

#endif

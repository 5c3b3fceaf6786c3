/*
 * Where the object's memory lies. A page that a process touches at its start costs it more than a hundred instructions a
 * byte of it that is used: the kernel finds it, clears it and maps it in. So what every process uses comes first; then the
 * status page, of which only the front is used at once, and the store of the configuration's text, likewise; behind it what
 * is not needed before the first line or connection. The linker sorts by these names (--sort-section=name).
 */
#ifndef TRACESHIM_LAYOUT_H
#define TRACESHIM_LAYOUT_H

#define LAYOUT_STATUS __attribute__((section(".bss.zx_status")))
#define LAYOUT_STORE __attribute__((section(".bss.zy_store")))
#define LAYOUT_LATER __attribute__((section(".bss.zz_later")))

#endif

/*
 * HPACK (RFC 7541): the blocks of one direction of an HTTP/2 connection, decoded by nghttp2's inflater, which is linked
 * into the object. It differs from a plain use in where the memory comes from: from pools, with a bound; and in what
 * happens when the library stops itself (assert): the decoder is poisoned, and the program goes on.
 *
 * No I/O, no lock; safe in signal handlers. One caller at a time for a decoder.
 */
#ifndef TRACESHIM_HPACK_H
#define TRACESHIM_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The largest table that a sender may keep, whatever the receiver allowed it; beyond it, decoding fails. Browsers allow
 * 64 KiB.
 */
#define HPACK_TABLE_MAX 65536u

#define HPACK_TABLE_DEFAULT 4096u /* RFC 9113 6.5.2 */
#define HPACK_ENTRY_MIN 32u       /* what an entry without a name and a value takes of it: RFC 7541 4.1 */

/* The longest name and the longest value: nghttp2's own limit. */
#define HPACK_STRING_MAX 65536u

/*
 * Memory of one decoder, all of it: beyond it, decoding fails. A table of 64 KiB takes some 250 KiB with usual fields,
 * a name and a value that come in pieces twice their length each while they do.
 */
#define HPACK_MEMORY_MAX (512u * 1024)

struct hpack;

/* A decoder with a table of 4,096 bytes. NULL: no memory (counted). */
struct hpack *hpack_new(void);
void hpack_free(struct hpack *h); /* NULL is nothing */

/*
 * A field as it is decoded; the strings live until the callback returns; no NUL at the end. Returns whether to go on.
 */
typedef bool (*hpack_field)(void *owner, const char *name, size_t name_len, const char *value, size_t value_len);

/*
 * Decode the next bytes of a block: any split. `last`: the block ends with them (len may be 0). False: the block cannot
 * be decoded, the callback said stop, or there is no memory; the decoder then says so for good.
 */
bool hpack_feed(struct hpack *h, const char *in, size_t len, bool last, hpack_field field, void *owner);

/*
 * Does this block, which was decoded, mean the same when it comes again at once? It says nothing of the table's size (RFC 7541 6.3), and
 * where it enters fields (6.2.1), it refers to the static table only. *entered: how many it enters; 0: it leaves the table as it was. Pure.
 */
bool hpack_means_the_same(const char *in, size_t len, unsigned *entered);

/*
 * From the next block on the sender may use a table of `size` bytes, and must say first that its table is smaller if it
 * was larger (RFC 7541 4.2). Between blocks only. False: as above.
 */
bool hpack_change_table_size(struct hpack *h, uint32_t size);

#endif

/*
 * What spans know of a connection: its peer, which is asked for once, and what became of it; see span.h.
 *
 * Memory: 112 bytes a connection that had a span. Callers: whoever has the connection's lock, signal handlers included.
 */
#include "span_internal.h"

#include <netinet/in.h>
#include <string.h>

#include "counters.h"
#include "os.h"
#include "pool.h"

POOL(span_conns, sizeof(struct span_conn), 32);

static __attribute__((cold)) void ask_peer(struct span_conn *known, int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr;
	socklen_t len = sizeof(addr);

	if (os_peer(fd, &addr.any, &len) != 0)
		return; /* not connected yet: asked again */
	known->peer_known = addr.any.sa_family == AF_INET || addr.any.sa_family == AF_INET6 ? 2 : 1;
	if (addr.any.sa_family == AF_INET) {
		memcpy(known->peer, &addr.v4.sin_addr, 4);
		known->peer_port = ntohs(addr.v4.sin_port);
	} else if (addr.any.sa_family == AF_INET6) {
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

		memcpy(known->peer, &addr.v6.sin6_addr, 16);
		known->peer_port = ntohs(addr.v6.sin6_port);
		known->peer_v6 = memcmp(known->peer, mapped, sizeof(mapped)) != 0;
		if (!known->peer_v6) { /* IPv4 on a socket for both */
			memmove(known->peer, known->peer + 12, 4);
			memset(known->peer + 4, 0, 12);
		}
	}
}

__attribute__((cold)) bool span_ask_peer(struct span_peer *peer, int fd)
{
	struct span_conn known = { 0 };

	ask_peer(&known, fd);
	*peer = (struct span_peer){ known.peer_known == 2, known.peer_v6, known.peer_port, { 0 } };
	memcpy(peer->address, known.peer, sizeof(peer->address));
	return known.peer_known != 0;
}

bool span_know_conn(struct conn *conn, int fd)
{
	if (conn->spans == NULL) {
		conn->spans = pool_take(&span_conns);
		if (conn->spans == NULL) {
			counters_count_seldom(no_memory_skipped);
			return false;
		}
		memset(conn->spans, 0, sizeof(*conn->spans));
	}
	if (conn->spans->peer_known == 0)
		ask_peer(conn->spans, fd);
	return true;
}

__attribute__((cold)) void span_forget_conn(struct conn *conn)
{
	if (conn->spans->raw != NULL)
		span_free(conn->spans->raw);
	pool_give(&span_conns, conn->spans);
	conn->spans = NULL;
}

/*
 * Which protocol is it? See protocol.h. Callers: whoever has the connection's lock. Memory: the protocols' own.
 */
#include "protocol.h"

enum protocol_kind protocol_sniff(enum conn_role role, const char *in, size_t len)
{
	(void)role, (void)in, (void)len;
	return PROTOCOL_NONE;
}

bool protocol_begin(struct conn *conn, const char *in, size_t len)
{
	switch (protocol_sniff(conn_role(conn), in, len)) {
	case PROTOCOL_NONE:
	default: return false;
	}
}

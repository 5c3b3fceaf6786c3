/*
 * Which protocol is it? See protocol.h. Callers: whoever has the connection's lock. Memory: the protocols' own.
 */
#include "protocol.h"

#include <string.h>

#include "cgi_conn.h"
#include "http2_conn.h"

#define PREFACE_SEEN 4u

__attribute__((cold)) enum protocol_kind protocol_sniff(enum conn_role role, const char *in, size_t len)
{
	/* A program sends the first bytes in one piece, and reads them in any. */
	bool surely = role != CONN_SERVED;

	/* Few bytes may be of anything, and nobody sends the preface in such pieces. */
	if (len >= PREFACE_SEEN && http2_sniff_preface(in, len) != HTTP2_SNIFF_NO)
		return PROTOCOL_HTTP2;
	if ((!surely || len >= FASTCGI_HEADER) && fastcgi_sniff(in, len))
		return PROTOCOL_FASTCGI;
	return uwsgi_sniff(in, len, surely) ? PROTOCOL_UWSGI : PROTOCOL_NONE;
}

/* SETTINGS, as the first frame of a server: its values are six bytes each, its stream is 0. RFC 9113 3.4, 6.5. */
static bool is_settings(const char *in, size_t len)
{
	static const char rest[6] = { 4 };

	return len >= HTTP2_FRAME_HEAD && in[0] == 0 && in[1] == 0 && (unsigned char)in[2] % 6 == 0 &&
	       memcmp(in + 3, rest, sizeof(rest)) == 0;
}

__attribute__((cold)) bool protocol_begin_by_server(struct conn *conn, const char *out, size_t len)
{
	return is_settings(out, len) && http2_begin(conn);
}

__attribute__((cold)) bool protocol_begin(struct conn *conn, const char *in, size_t len)
{
	enum protocol_kind kind = protocol_sniff(conn_role(conn), in, len);

	if (conn->mode == CONN_UPGRADED && kind != PROTOCOL_HTTP2)
		return false;
	switch (kind) {
	case PROTOCOL_HTTP2: return http2_begin(conn);
	case PROTOCOL_FASTCGI: return fastcgi_begin(conn);
	case PROTOCOL_UWSGI: return uwsgi_begin(conn);
	case PROTOCOL_NONE:
	default: return false;
	}
}

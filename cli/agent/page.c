/*
 * libmicrohttpd, driven from the agent's own loop: no thread, so the store needs no lock. Everything is made in memory per
 * request; at most CONNECTIONS of them, of some 8 MiB (store.c), which a slow reader keeps for as long as it reads.
 *
 * The page runs no script but its own and asks nobody but us (Content-Security-Policy). An address that is not loopback needs a
 * token, given as ?token= once (then kept in a cookie) or as a bearer token. On loopback the Host must be a loopback name:
 * else a page elsewhere could have its own name point to us (DNS rebinding) and read what is here.
 */
#include "page.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "semconv.h"
#include "../text.h"

enum { CONNECTIONS = 32, LIST_MAX = 500, TIMEOUT_S = 30 };

/* page_files.S */
extern const char page_html[], page_css[], page_js[];

struct page {
	struct page_settings s;
	struct MHD_Daemon *daemon;
	bool loopback;
	char url[160];
	char cookie[32]; /* its name: cookies are shared by all ports of a host */
};

static bool page_parse_address(const char *text, struct sockaddr_storage *address, socklen_t *len)
{
	struct semconv_address parsed = semconv_split_host((struct ring_view){ text, strlen(text) });
	struct addrinfo hints = { .ai_flags = AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found;
	const char *colon = strrchr(text, ':');
	char host[256];

	/* getaddrinfo takes any number for a port, and leaves out its upper bits. */
	if (!colon || (!parsed.port && strcmp(colon + 1, "0") != 0) || parsed.host.len >= sizeof(host))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)parsed.host.len, parsed.host.len ? parsed.host.at : "");
	if (getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, &found) != 0)
		return false;
	memcpy(address, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

static bool page_is_loopback(const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *six = (const void *)address;
	const struct sockaddr_in *four = (const void *)address;

	if (address->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	return ntohl(four->sin_addr.s_addr) >> 24 == 127;
}

/* Of the same length of time for each wrong token. */
static bool page_same(const char *given, const char *token)
{
	size_t len = strlen(token);
	unsigned char differs = strlen(given) != len;

	for (size_t i = 0; i < len && given[i]; i++)
		differs |= (unsigned char)(given[i] ^ token[i]);
	return !differs;
}

static bool page_is_known(const struct page *p, struct MHD_Connection *c, bool *by_url)
{
	const char *given = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token");

	*by_url = false;
	if (!p->s.token)
		return true;
	if (given && page_same(given, p->s.token))
		return *by_url = true;
	given = MHD_lookup_connection_value(c, MHD_COOKIE_KIND, p->cookie);
	if (given && page_same(given, p->s.token))
		return true;
	given = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
	return given && strncmp(given, "Bearer ", 7) == 0 && page_same(given + 7, p->s.token);
}

static bool page_host_is_ours(const struct page *p, struct MHD_Connection *c)
{
	const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
	struct semconv_address a;

	if (!p->loopback || !host)
		return true;
	a = semconv_split_host((struct ring_view){ host, strlen(host) });
	return (a.host.len == 9 && strncasecmp(a.host.at, "localhost", 9) == 0) ||
	       (a.host.len > 4 && memcmp(a.host.at, "127.", 4) == 0 &&
	        strspn(a.host.at, "0123456789.:") == strlen(host)) ||
	       (a.host.len == 3 && memcmp(a.host.at, "::1", 3) == 0);
}

/* Takes over what `body` holds. */
static enum MHD_Result page_answer(const struct page *p, struct MHD_Connection *c, unsigned status, const char *type,
                                   struct buffer *body, bool keep_token)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(body->len, body->at, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;
	char cookie[320];

	if (!r) {
		buffer_free(body);
		return MHD_NO;
	}
	*body = (struct buffer){ 0 };
	MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(
		r, "Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(r, "Cache-Control", "no-store");
	if (keep_token) {
		snprintf(cookie, sizeof(cookie), "%s=%s; HttpOnly; SameSite=Strict; Path=/", p->cookie, p->s.token);
		MHD_add_response_header(r, "Set-Cookie", cookie);
	}
	result = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result page_refuse(const struct page *p, struct MHD_Connection *c, unsigned status, const char *why)
{
	struct buffer body = { 0 };

	buffer_put_text(&body, why);
	return page_answer(p, c, status, "text/plain; charset=utf-8", &body, false);
}

static const char *page_argument(struct MHD_Connection *c, const char *name)
{
	const char *value = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, name);

	return value ? value : "";
}

static void page_put_requests(const struct page *p, struct MHD_Connection *c, struct buffer *out)
{
	struct store_filter f = {
		.service = page_argument(c, "service"),
		.text = page_argument(c, "text"),
		.trace = page_argument(c, "trace"),
		.status = (unsigned)strtoul(page_argument(c, "status"), NULL, 10),
		.errors = *page_argument(c, "errors") == '1',
		.limit = (unsigned)strtoul(page_argument(c, "limit"), NULL, 10),
	};
	double slower_ms = strtod(page_argument(c, "slower"), NULL);

	f.slower_ns = slower_ms > 0 && slower_ms < 1e9 ? (uint64_t)(slower_ms * 1e6) : 0;
	if (!f.limit || f.limit > LIST_MAX)
		f.limit = LIST_MAX;
	store_put_requests(p->s.store, &f, out);
}

/* The body for a path, and its type; NULL when there is no such path. */
static const char *page_make(const struct page *p, struct MHD_Connection *c, const char *path, struct buffer *out)
{
	static const char json[] = "application/json";
	static const char trace[] = "/api/trace/";

	if (strcmp(path, "/metrics") == 0) {
		p->s.metrics(p->s.owner, out);
		return "text/plain; version=0.0.4; charset=utf-8";
	}
	if (!p->s.store)
		return NULL;
	if (strcmp(path, "/") == 0) {
		buffer_put_text(out, page_html);
		return "text/html; charset=utf-8";
	}
	if (strcmp(path, "/page.css") == 0) {
		buffer_put_text(out, page_css);
		return "text/css; charset=utf-8";
	}
	if (strcmp(path, "/page.js") == 0) {
		buffer_put_text(out, page_js);
		return "text/javascript; charset=utf-8";
	}
	if (strcmp(path, "/api/requests") == 0) {
		page_put_requests(p, c, out);
		return json;
	}
	if (strcmp(path, "/api/overview") == 0) {
		store_put_overview(p->s.store, out);
		return json;
	}
	if (strncmp(path, trace, sizeof(trace) - 1) == 0 && strlen(path) == sizeof(trace) - 1 + 32) {
		store_put_trace(p->s.store, path + sizeof(trace) - 1, out);
		return json;
	}
	return NULL;
}

static enum MHD_Result page_serve(void *owner, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
	const struct page *p = owner;
	struct buffer out = { 0 };
	const char *type;
	bool by_url;

	(void)version;
	(void)upload;
	/* The first call is before the request is read to its end: an answer then would cost the connection. */
	if (!*state) {
		*state = owner;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return page_refuse(p, c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	if (!page_host_is_ours(p, c))
		return page_refuse(p, c, MHD_HTTP_FORBIDDEN, "not this host\n");
	if (!page_is_known(p, c, &by_url))
		return page_refuse(p, c, MHD_HTTP_UNAUTHORIZED, "a token is needed: ?token=...\n");
	type = page_make(p, c, path, &out);
	if (type && !out.failed)
		return page_answer(p, c, MHD_HTTP_OK, type, &out, by_url);
	buffer_free(&out);
	return page_refuse(p, c, type ? MHD_HTTP_INTERNAL_SERVER_ERROR : MHD_HTTP_NOT_FOUND, "nothing here\n");
}

static int page_listen(struct page *p, const char *address)
{
	struct sockaddr_storage where = { 0 };
	char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
	socklen_t len = sizeof(where);
	int fd, on = 1;

	if (!page_parse_address(address, &where, &len)) {
		text_error("agent: '%s' is no ADDRESS:PORT that can be served", address);
		return -1;
	}
	p->loopback = page_is_loopback(&where);
	if (!p->loopback && !p->s.token) {
		text_error("agent: %s can be reached by others, so it needs a token (TRACESHIM_TOKEN, or --token)",
		           address);
		return -1;
	}
	fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&where, len) != 0 || listen(fd, CONNECTIONS) != 0) {
		text_error("agent: %s cannot be served: %s%s", address, strerror(errno),
		           errno == EADDRINUSE ? " (another port: --ui=ADDR:PORT)" : "");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	len = sizeof(where);
	(void)getsockname(fd, (struct sockaddr *)&where, &len);
	(void)getnameinfo((struct sockaddr *)&where, len, host, sizeof(host), port, sizeof(port),
	                  NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(p->cookie, sizeof(p->cookie), "traceshim_token_%.8s", port);
	snprintf(p->url, sizeof(p->url), strchr(host, ':') ? "http://[%.64s]:%s/" : "http://%.64s:%s/", host, port);
	return fd;
}

struct page *page_open(const struct page_settings *settings)
{
	struct page *p = calloc(1, sizeof(*p));
	int fd;

	if (!p)
		return NULL;
	p->s = *settings;
	fd = page_listen(p, settings->address);
	if (fd >= 0) {
		p->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, page_serve, p, MHD_OPTION_LISTEN_SOCKET, fd,
		                             MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
		                             MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
		if (p->daemon)
			return p;
		text_error("agent: %s cannot be served", settings->address);
		close(fd);
	}
	free(p);
	return NULL;
}

int page_descriptor(const struct page *p)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? info->epoll_fd : -1;
}

const char *page_url(const struct page *p)
{
	return p->url;
}

void page_step(struct page *p)
{
	MHD_run(p->daemon);
}

void page_close(struct page *p)
{
	if (!p)
		return;
	MHD_stop_daemon(p->daemon);
	free(p);
}

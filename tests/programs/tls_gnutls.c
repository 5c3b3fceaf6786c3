/*
 * A client of GnuTLS that calls what few programs do: reads that tell a number or leave the bytes with the library, a file as a
 * body, a corked session, and an end that is said. Prints what it was answered. Usage: tls_gnutls PORT STATE
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS 3
#define BODY 50000

static void die(const char *what, long why)
{
	fprintf(stderr, "%s: %s\n", what, gnutls_strerror((int)why));
	exit(1);
}

static gnutls_session_t make_session(int port, int *fd)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_port = htons((unsigned short)port),
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	int result;

	*fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(*fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die("connect", 0);
	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_init(&session, GNUTLS_CLIENT);
	gnutls_set_default_priority(session);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(session, *fd);
	while ((result = gnutls_handshake(session)) < 0)
		if (gnutls_error_is_fatal(result))
			die("handshake", result);
	return session;
}

static void write_all(gnutls_session_t session, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len > 0; bytes += n, len -= (size_t)n)
		if ((n = gnutls_record_send(session, bytes, len)) < 0)
			die("send", n);
}

static void send_request(gnutls_session_t session, const char *state, int n)
{
	char head[200], body[BODY], path[] = "/tmp/tls_gnutls.XXXXXX";
	bool file = strcmp(state, "file") == 0, cork = strcmp(state, "cork") == 0;
	ssize_t sent = 0;
	int fd;

	sprintf(head, "POST /x?n=%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", n, BODY);
	memset(body, 'b', sizeof(body));
	if (cork)
		gnutls_record_cork(session);
	write_all(session, head, strlen(head));
	if (!file) {
		write_all(session, body, sizeof(body));
	} else {
		fd = mkstemp(path);
		unlink(path);
		if (write(fd, body, sizeof(body)) != sizeof(body))
			die("write", 0);
		if (lseek(fd, 0, SEEK_SET) != 0 ||
		    (sent = gnutls_record_send_file(session, fd, NULL, sizeof(body))) != sizeof(body))
			die("send_file", sent);
		close(fd);
	}
	if (cork && (sent = gnutls_record_uncork(session, GNUTLS_RECORD_WAIT)) != (ssize_t)(strlen(head) + BODY))
		printf("uncorked %zd\n", sent);
}

static ssize_t read_some(gnutls_session_t session, const char *state, char *to, size_t room)
{
	unsigned char sequence[8];
	gnutls_packet_t packet;
	gnutls_datum_t datum;
	ssize_t n;

	if (strcmp(state, "packet") != 0)
		return strcmp(state, "sequence") == 0 ? gnutls_record_recv_seq(session, to, room, sequence) :
		                                        gnutls_record_recv(session, to, room);
	n = gnutls_record_recv_packet(session, &packet);
	if (n > 0) {
		gnutls_packet_get(packet, &datum, sequence);
		if (datum.size > room)
			die("too much", 0);
		memcpy(to, datum.data, datum.size);
		gnutls_packet_deinit(packet);
	}
	return n;
}

static void read_answer(gnutls_session_t session, const char *state)
{
	char got[20000];
	size_t len = 0, wanted = SIZE_MAX;
	ssize_t n;

	while (len < wanted) {
		const char *end, *length;

		if ((n = read_some(session, state, got + len, sizeof(got) - 1 - len)) == GNUTLS_E_AGAIN ||
		    n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n <= 0)
			die("recv", n);
		len += (size_t)n;
		got[len] = '\0';
		end = strstr(got, "\r\n\r\n");
		length = strcasestr(got, "\r\nContent-Length:");
		if (end != NULL && length != NULL)
			wanted = (size_t)(end + 4 - got) + strtoul(length + 17, NULL, 10);
	}
	printf("%s\n", strstr(got, "\r\n\r\n") + 4);
}

int main(int argc, char **argv)
{
	gnutls_session_t session;
	int n, fd;

	if (argc != 3)
		return 2;
	session = make_session(atoi(argv[1]), &fd);
	for (n = 1; n <= REQUESTS; n++) {
		send_request(session, argv[2], n);
		read_answer(session, argv[2]);
	}
	printf("bye: %d\n", gnutls_bye(session, GNUTLS_SHUT_WR));
	gnutls_deinit(session);
	close(fd);
	return 0;
}

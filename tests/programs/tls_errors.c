/*
 * The queue of errors of OpenSSL, after calls on a session in states that a program gets into: without a BIO, with one in memory, with
 * a socket that is closed. SSL_get_error() looks into that queue, so what somebody else leaves there fails the next call.
 * Before that, the process's first sessions are made by many threads at once.
 */
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static void tell(const char *what, const SSL *ssl, int result)
{
	unsigned long error;

	printf("%s: %d", what, result);
	if (result <= 0)
		printf(", SSL_get_error %d", SSL_get_error(ssl, result));
	while ((error = ERR_get_error()) != 0)
		printf(", %d/%d", ERR_GET_LIB(error), ERR_GET_REASON(error));
	puts("");
}

static void use(const char *how, SSL *ssl)
{
	char byte[8] = "GET / H";
	size_t done;

	puts(how);
	tell("shutdown", ssl, SSL_shutdown(ssl));
	tell("read without a direction", ssl, SSL_read(ssl, byte, sizeof(byte)));
	SSL_set_connect_state(ssl);
	tell("peek", ssl, SSL_peek(ssl, byte, sizeof(byte)));
	tell("read", ssl, SSL_read(ssl, byte, sizeof(byte)));
	tell("read_ex", ssl, SSL_read_ex(ssl, byte, sizeof(byte), &done));
	tell("write", ssl, SSL_write(ssl, byte, sizeof(byte)));
	tell("write_ex", ssl, SSL_write_ex(ssl, byte, sizeof(byte), &done));
	tell("write nothing", ssl, SSL_write(ssl, byte, 0));
	tell("handshake", ssl, SSL_do_handshake(ssl));
	tell("clear", ssl, SSL_clear(ssl));
	SSL_set_bio(ssl, NULL, NULL);
	tell("no BIO any more", ssl, 1);
	SSL_free(ssl);
	tell("freed", NULL, 1);
}

#define THREADS 64

static SSL_CTX *context;
static pthread_barrier_t all_there;

static void *make_one(void *arg)
{
	SSL *ssl;

	(void)arg;
	pthread_barrier_wait(&all_there);
	ssl = SSL_new(context);
	SSL_free(ssl);
	return ssl;
}

static int make_many(void)
{
	pthread_t thread[THREADS];
	int i, made = 0;

	pthread_barrier_init(&all_there, NULL, THREADS);
	for (i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, make_one, NULL);
	for (i = 0; i < THREADS; i++) {
		void *ssl;

		pthread_join(thread[i], &ssl);
		made += ssl != NULL;
	}
	return made;
}

int main(void)
{
	int ends[2];
	SSL *ssl;

	context = SSL_CTX_new(TLS_method());
	printf("%d sessions at once\n", make_many());
	use("no BIO", SSL_new(context));
	ssl = SSL_new(context);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	use("in memory", ssl);
	ssl = SSL_new(context);
	SSL_set_bio(ssl, NULL, BIO_new(BIO_s_mem()));
	tell("for writing only", ssl, SSL_write(ssl, "", 1));
	SSL_free(ssl);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		return 1;
	close(ends[1]);
	ssl = SSL_new(context);
	tell("set_fd", ssl, SSL_set_fd(ssl, ends[0]));
	use("a socket whose peer is gone", ssl);
	close(ends[0]);
	SSL_free(NULL);
	SSL_CTX_free(context);
	return 0;
}

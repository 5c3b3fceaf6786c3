/*
 * One HTTP request through stdio on descriptors 0 and 1, as inetd hands it over; a line about it on stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
	char line[1024], *n = NULL;
	long number = 0;

	while (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "\r\n") != 0)
		if (n == NULL && (n = strstr(line, "n=")) != NULL)
			number = atol(n + 2);
	fprintf(stderr, "serving n=%ld in an inetd way\n", number);
	printf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello n=%ld\n", number);
	return 0;
}

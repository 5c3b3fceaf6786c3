/*
 * A library with Boost.Context in it, whose functions stand elsewhere in one built with SECOND, and (PROGRAM) who opens the libraries
 * that it is given, one after the other was closed.
 */
#ifdef PROGRAM
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		void *library = dlopen(argv[i], RTLD_NOW);
		long (*answer)(void);

		if (library == NULL)
			return 1;
		*(void **)&answer = dlsym(library, "answer");
		printf("%ld\n", answer());
		dlclose(library);
	}
	return 0;
}
#else
#include <stddef.h>

long answer(void);
void *another(void *top, size_t size, void *function);
void *make_fcontext(void *top, size_t size, void *function);

static char stack[65536];

long answer(void)
{
	return (long)make_fcontext(stack + sizeof(stack), sizeof(stack), NULL);
}

#ifdef SECOND
void *another(void *top, size_t size, void *function)
{
	return (void)top, (void)size, (void)function, (void *)3;
}

void *make_fcontext(void *top, size_t size, void *function)
{
	return (void)top, (void)size, (void)function, (void *)2;
}
#else
void *make_fcontext(void *top, size_t size, void *function)
{
	return (void)top, (void)size, (void)function, (void *)1;
}

void *another(void *top, size_t size, void *function)
{
	return (void)top, (void)size, (void)function, (void *)4;
}
#endif
#endif

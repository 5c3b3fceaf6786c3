/*
 * C++ that leaves calls on other ways than by return: exceptions, cancellation, with destructors that print.
 */
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace {

int ends[2];

struct Tells {
	const char *what;
	~Tells() { std::cout << what << " destroyed" << std::endl; }
};

void *blocked(void *)
{
	Tells tells{"object of a cancelled thread"};
	char c;
	while (read(ends[0], &c, 1) >= 0)
		;
	return nullptr;
}

void *throws(void *)
{
	try {
		Tells tells{"object of a thread that throws"};
		throw std::runtime_error("thrown");
	} catch (const std::exception &e) {
		std::cerr << "caught " << e.what() << " in pieces " << 1 << std::endl;
	}
	pthread_exit(nullptr);
}

int compare(const void *a, const void *b)
{
	if (*static_cast<const int *>(a) == 3)
		throw 3;
	return *static_cast<const int *>(a) - *static_cast<const int *>(b);
}

} // namespace

int main()
{
	int numbers[] = {5, 4, 3, 2, 1};
	pthread_t thread;
	void *result;

	if (pipe(ends) != 0)
		return 1;
	pthread_create(&thread, nullptr, blocked, nullptr);
	usleep(20000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	std::cout << (result == PTHREAD_CANCELED) << '\n';
	pthread_create(&thread, nullptr, throws, nullptr);
	pthread_join(thread, &result);
	try {
		qsort(numbers, 5, sizeof(numbers[0]), compare);
	} catch (int n) {
		std::cout << "through libc: " << n << '\n';
	}
	std::ios::sync_with_stdio(false);
	for (int i = 0; i < 3000; i++)
		std::cout << "unsynchronised " << i << '\n';
	std::clog << "log " << 2 << ' ' << 3.5 << std::endl;
	std::cout << "no newline at the end";
	std::cout.flush();
	std::set_terminate([] {
		std::cerr << "terminated" << std::endl;
		_Exit(11);
	});
	throw std::string("nobody catches this");
}

/*
 * Pools of C++: what the workers get is a function.
 *
 *   server_functions KIND PORT UP
 *
 * KIND  fifo lifo priority batch   std::function, which has a shared_ptr to the request, in a deque behind a condition variable;
 *                  the oldest, the newest, the most important one first; or a worker takes up to eight at once
 *       task     std::packaged_task, whose future a second pool waits for, which answers
 *       async    std::async: a thread a request
 */
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "attribution_kit.h"

namespace
{

struct request {
	struct peer *peer;
	long n;
	std::string note; /* too long to lie in the object itself */
};

enum class order { FIFO, LIFO, PRIORITY, BATCH };

struct job {
	long n;
	std::function<void()> run;
};

class pool
{
      public:
	pool(int workers, order order) : next(order)
	{
		for (int i = 0; i < workers; i++)
			std::thread([this] { work(); }).detach();
	}

	void submit(long n, std::function<void()> run)
	{
		{
			std::lock_guard<std::mutex> guard(lock);
			jobs.push_back({ n, std::move(run) });
		}
		filled.notify_one();
	}

      private:
	/* Under the lock. */
	job take()
	{
		auto at = jobs.begin();

		if (next == order::LIFO)
			at = jobs.end() - 1;
		else if (next == order::PRIORITY)
			at = std::max_element(jobs.begin(), jobs.end(),
			                      [](const job &a, const job &b) { return a.n * 7 % 16 < b.n * 7 % 16; });
		job taken = std::move(*at);
		jobs.erase(at);
		return taken;
	}

	void work()
	{
		for (;;) {
			std::vector<job> taken;
			{
				std::unique_lock<std::mutex> guard(lock);
				filled.wait(guard, [this] { return !jobs.empty(); });
				do
					taken.push_back(take());
				while (next == order::BATCH && !jobs.empty() && taken.size() < 8);
			}
			for (auto &job : taken)
				job.run();
		}
	}

	const order next;
	std::mutex lock;
	std::condition_variable filled;
	std::deque<job> jobs;
};

/* Never destroyed: their threads run until the process ends. */
pool *workers, *answerers;

void answer(const std::shared_ptr<request> &request)
{
	say("before", request->n);
	peer_answer(request->peer);
	say("after", request->n);
	workers->submit(request->n, [n = request->n] { say("background", n); });
	kit_give_back(request->peer);
}

void begin(const std::shared_ptr<request> &request)
{
	say("begin", request->n);
	kit_call(request->n);
	say("middle", request->n);
	kit_dawdle(request->n);
}

std::shared_ptr<request> make_request(struct peer *peer)
{
	auto made = std::make_shared<request>();

	made->peer = peer;
	made->n = peer->n;
	made->note = "a request of somebody who has the number " + std::to_string(peer->n);
	return made;
}

void take_function(struct peer *peer)
{
	auto request = make_request(peer);

	workers->submit(request->n, [request] {
		begin(request);
		answer(request);
	});
}

void take_task(struct peer *peer)
{
	auto request = make_request(peer);
	auto task = std::make_shared<std::packaged_task<long()>>([request] {
		begin(request);
		return request->n;
	});
	auto result = std::make_shared<std::future<long>>(task->get_future());

	workers->submit(request->n, [task] { (*task)(); });
	answerers->submit(request->n, [request, result] {
		if (result->get() != request->n)
			die("another's result");
		answer(request);
	});
}

void take_async(struct peer *peer)
{
	auto request = make_request(peer);
	auto result = std::make_shared<std::future<void>>();

	*result = std::async(std::launch::async, [request] { begin(request); });
	/* Whoever lets go of it last waits for the thread: not the reader. */
	answerers->submit(request->n, [request, result] {
		result->get();
		answer(request);
	});
}

order order_of(const std::string &kind)
{
	return kind == "lifo"     ? order::LIFO :
	       kind == "priority" ? order::PRIORITY :
	       kind == "batch"    ? order::BATCH :
	                            order::FIFO;
}

} /* namespace */

int main(int argc, char **argv)
{
	const std::string kind = argc > 3 ? argv[1] : "";

	if (kind.empty())
		return 2;
	kit_start(argv[3]);
	workers = new pool(8, order_of(kind));
	answerers = new pool(8, order::FIFO);
	kit_read(listen_on(atoi(argv[2])), kind == "task" ? take_task : kind == "async" ? take_async : take_function);
	return 0;
}

// A C++ server, one thread a connection: its lines go through cout (tied to stdio) and, in pieces, cerr. Usage: PORT
#include <arpa/inet.h>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

static void serve(int fd)
{
	std::string in;
	char bytes[4096];
	ssize_t got;

	while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		size_t end;

		in.append(bytes, static_cast<size_t>(got));
		if ((end = in.find("\r\n\r\n")) == std::string::npos)
			continue;
		std::string n = in.substr(in.find("n="), in.find(' ', in.find("n=")) - in.find("n="));
		std::string body = "hello " + n + "\n";
		bool close_it = in.find("Connection: close") != std::string::npos;

		in.erase(0, end + 4);
		std::cout << "out " + n + "\n" << std::flush;
		std::cerr << "err " << n << " has " << 4 << " pieces" << std::endl;
		std::string answer =
			"HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
		if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0 || close_it)
			break;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	sockaddr_in addr = {};
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;

	addr.sin_family = AF_INET;
	addr.sin_port = htons(static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) != 0 || listen(listener, 512) != 0)
		return 1;
	while ((fd = accept(listener, nullptr, nullptr)) >= 0)
		std::thread(serve, fd).detach();
	return 0;
}

// gRPC's C++ library without generated code: a server, or a client that makes calls one after the other. Messages are bytes.
//
//     peer serve PORT [NEXT]               Echo, Fail and Ask, as grpc_peer.py has them
//     peer call PORT METHOD COUNT [TRACEPARENT]     by a completion queue
//
// The server is a thread with a completion queue, as services in C++ are that do not block; or, with CALLBACK in the environment,
// gRPC's own threads call it.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

static std::string text_of(grpc::ByteBuffer &buffer)
{
	std::vector<grpc::Slice> slices;
	std::string text;

	(void)buffer.Dump(&slices);
	for (const auto &slice : slices)
		text.append(reinterpret_cast<const char *>(slice.begin()), slice.size());
	return text;
}

static grpc::ByteBuffer buffer_of(const std::string &text)
{
	grpc::Slice slice(text);

	return grpc::ByteBuffer(&slice, 1);
}

static std::string traceparent_of(const grpc::ServerContextBase &context)
{
	std::string all;

	for (const auto &field : context.client_metadata())
		if (field.first == "traceparent")
			all += " " + std::string(field.second.data(), field.second.size());
	return all;
}

// One call, to its end. Returns the answer, or the status' number.
static std::string call(grpc::GenericStub &stub, const std::string &method, const std::string &text, const char *parent)
{
	grpc::ClientContext context;
	grpc::CompletionQueue queue;
	grpc::ByteBuffer answer;
	grpc::Status status;
	void *tag;
	bool ok;

	if (parent != nullptr)
		context.AddMetadata("traceparent", parent);
	if (const char *bytes = std::getenv("LONG"))
		context.AddMetadata("x-long", std::string(std::stoul(bytes), 'v'));
	context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
	auto reader = stub.PrepareUnaryCall(&context, "/demo.v1.Demo/" + method, buffer_of(text), &queue);
	reader->StartCall();
	reader->Finish(&answer, &status, &tag);
	(void)queue.Next(&tag, &ok);
	return status.ok() ? text_of(answer) : "status " + std::to_string(status.error_code());
}

static std::unique_ptr<grpc::GenericStub> next;

static grpc::Status handle(const std::string &method, const std::string &text, const grpc::ServerContextBase &context,
                           std::string &answer)
{
	if (method == "/demo.v1.Demo/Fail")
		return grpc::Status(grpc::StatusCode::NOT_FOUND, "none");
	if (method == "/demo.v1.Demo/Ask") {
		answer = call(*next, "Echo", text, nullptr);
		return grpc::Status::OK;
	}
	if (method != "/demo.v1.Demo/Echo")
		return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
	std::printf("echo %s in=%s\n", text.c_str(), traceparent_of(context).c_str());
	std::fflush(stdout);
	answer = text + traceparent_of(context);
	return grpc::Status::OK;
}

class Reactor : public grpc::ServerGenericBidiReactor
{
      public:
	explicit Reactor(grpc::GenericCallbackServerContext *from) : context(from)
	{
		StartRead(&question);
	}
	void OnReadDone(bool ok) override
	{
		std::string text;
		grpc::Status status = handle(context->method(), ok ? text_of(question) : "", *context, text);

		answer = buffer_of(text);
		if (status.ok())
			StartWriteAndFinish(&answer, grpc::WriteOptions(), status);
		else
			Finish(status);
	}
	void OnDone() override
	{
		delete this;
	}

      private:
	grpc::GenericCallbackServerContext *context;
	grpc::ByteBuffer question, answer;
};

class Callbacks : public grpc::CallbackGenericService
{
	grpc::ServerGenericBidiReactor *CreateReactor(grpc::GenericCallbackServerContext *context) override
	{
		return new Reactor(context);
	}
};

// One call of the server with a queue: three events, then it is gone.
struct Served {
	grpc::GenericServerContext context;
	grpc::GenericServerAsyncReaderWriter stream{ &context };
	grpc::ByteBuffer question;
	enum { BEGUN, READ, DONE } state = BEGUN;
};

static int serve(const std::string &port, bool by_callback)
{
	grpc::AsyncGenericService service;
	Callbacks callbacks;
	grpc::ServerBuilder builder;
	std::unique_ptr<grpc::ServerCompletionQueue> queue;
	int bound = 0;
	void *tag;
	bool ok;

	builder.AddListeningPort("127.0.0.1:" + port, grpc::InsecureServerCredentials(), &bound);
	if (by_callback) {
		builder.RegisterCallbackGenericService(&callbacks);
	} else {
		builder.RegisterAsyncGenericService(&service);
		queue = builder.AddCompletionQueue();
	}
	auto server = builder.BuildAndStart();
	if (!server || bound == 0)
		return 1;
	if (by_callback) {
		server->Wait();
		return 0;
	}
	auto *fresh = new Served;
	service.RequestCall(&fresh->context, &fresh->stream, queue.get(), queue.get(), fresh);
	while (queue->Next(&tag, &ok)) {
		auto *served = static_cast<Served *>(tag);

		if (served->state == Served::BEGUN && ok) {
			served->state = Served::READ;
			served->stream.Read(&served->question, served);
			fresh = new Served;
			service.RequestCall(&fresh->context, &fresh->stream, queue.get(), queue.get(), fresh);
		} else if (served->state == Served::READ) {
			std::string text;
			grpc::Status status = handle(served->context.method(), ok ? text_of(served->question) : "",
			                             served->context, text);

			served->state = Served::DONE;
			if (status.ok())
				served->stream.WriteAndFinish(buffer_of(text), grpc::WriteOptions(), status, served);
			else
				served->stream.Finish(status, served);
		} else {
			delete served;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	std::string what = argc > 2 ? argv[1] : "";

	if (what == "serve") {
		if (argc > 3)
			next = std::make_unique<grpc::GenericStub>(
				grpc::CreateChannel(std::string("127.0.0.1:") + argv[3],
			                            grpc::InsecureChannelCredentials()));
		return serve(argv[2], std::getenv("CALLBACK") != nullptr);
	}
	if (what != "call" || argc < 5)
		return 2;
	grpc::GenericStub stub(
		grpc::CreateChannel(std::string("127.0.0.1:") + argv[2], grpc::InsecureChannelCredentials()));
	for (int i = 0; i < std::atoi(argv[4]); i++)
		std::puts(call(stub, argv[3], "message " + std::to_string(i), argc > 5 ? argv[5] : nullptr).c_str());
	return 0;
}

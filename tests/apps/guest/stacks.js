/*
 * Where the program's functions are called from, as its stacks show it: text and V8's structured call sites, whole and with the usual
 * limit of ten. A request is served and made meanwhile, and what else has callbacks is used within it.
 */
"use strict";
const { AsyncLocalStorage, AsyncResource } = require("async_hooks");
const child_process = require("child_process");
const dgram = require("dgram");
const { EventEmitter, once } = require("events");
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const net = require("net");
const os = require("os");
const path = require("path");
const { PassThrough, Transform, Writable, finished, pipeline } = require("stream");
const { PerformanceObserver, performance } = require("perf_hooks");
const { BroadcastChannel, MessageChannel, Worker } = require("worker_threads");
const zlib = require("zlib");

const stacks = new Map();

function sites() {
	const { prepareStackTrace, stackTraceLimit } = Error;
	try {
		Error.prepareStackTrace = (error, all) => all.map((site) => [
			site.getTypeName(), site.getFunctionName(), path.basename(String(site.getFileName())),
			site.getLineNumber(), site.isNative(), site.isToplevel(), site.isConstructor(), site.isEval(),
		].join(" "));
		Error.stackTraceLimit = 10;
		const holder = {};
		Error.captureStackTrace(holder, note);
		return holder.stack;
	} finally {
		Error.prepareStackTrace = prepareStackTrace;
		Error.stackTraceLimit = stackTraceLimit;
	}
}

/* Keep the stack of here, once for each name. Returns what it is given as a second argument. */
function note(name, value) {
	if (!stacks.has(name)) {
		Error.stackTraceLimit = 100;
		stacks.set(name, new Error(name).stack.split("\n").concat(sites()));
		Error.stackTraceLimit = 10;
	}
	return value;
}

const noted = (name, value) => () => note(name, value);

/* One that says when it was called for the last time. */
function done(name) {
	let call;
	const wait = new Promise((resolve) => {
		call = () => resolve(note(name));
	});
	return [call, wait];
}

async function timers() {
	for (const later of [setTimeout, setImmediate, process.nextTick, queueMicrotask]) {
		const [call, wait] = done(later.name);
		later(call);
		await wait;
		note("behind await of " + later.name);
	}
	await Promise.resolve().then(noted("then"));
	await new Promise((resolve, reject) => setImmediate(reject)).catch(noted("catch"));
}

async function emitters(request, response) {
	const emitter = new EventEmitter();
	emitter.on("x", noted("an emitter of the program's"));
	emitter.emit("x");
	request.on("x", noted("an event on a request")).emit("x", 1, 2);
	response.on("x", noted("an event on a response")).emit("x", 1, 2);
	request.socket.on("x", noted("an event on a socket")).emit("x", 1);
	process.stdout.on("x", noted("an event on stdout")).emit("x", 1);
	try {
		request.emit("error", new Error(note("an error on a request")));
	} catch (error) {
		note("an error that nobody hears");
	}
}

async function contexts() {
	const storage = new AsyncLocalStorage();
	storage.run(1, noted("run"));
	storage.exit(noted("exit"));
	new AsyncResource("mine").runInAsyncScope(noted("runInAsyncScope"));
	AsyncResource.bind(noted("AsyncResource.bind"))();
	if (AsyncLocalStorage.bind) {
		AsyncLocalStorage.bind(noted("bind"))();
		AsyncLocalStorage.snapshot()(noted("snapshot"));
	}
}

async function files() {
	const name = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "stacks-")), "log");
	const fd = fs.openSync(name, "w");
	const [written, wrote] = done("fs.write");
	fs.write(fd, "a line\n", written);
	await wrote;
	try {
		fs.writeSync(-2, { toString: noted("toString of a chunk", "x") });
	} catch (error) {
		stacks.set("writeSync", error.stack.split("\n"));
	}
	try {
		fs.writeFileSync("/nowhere/at/all", "x");
	} catch (error) {
		stacks.set("writeFileSync", error.stack.split("\n"));
	}
	const stream = fs.createWriteStream("", { fd });
	const [end, ended] = done("a file's write");
	stream.write("a line\n", end);
	stream.write("another\n");
	await ended;
	stream.on("finish", noted("finish of a file"));
	stream.end("last\n");
	await once(stream, "close");
	fs.rmSync(path.dirname(name), { recursive: true });
}

async function streams() {
	const transform = new Transform({
		transform(chunk, encoding, callback) {
			note("transform");
			setImmediate(callback, null, chunk);
		},
		flush(callback) {
			note("flush");
			callback();
		},
	});
	const sink = new Writable({
		highWaterMark: 2,
		write(chunk, encoding, callback) {
			note("write of a sink");
			setImmediate(callback);
		},
		final(callback) {
			note("final of a sink");
			callback();
		},
	});
	transform.on("data", noted("data of a transform"));
	const all = new Promise((resolve) => pipeline(new PassThrough().end("one"), transform, sink, resolve));
	transform.write("two", noted("write of a transform"));
	await all;
	note("behind a pipeline");
	const busy = new Writable({ write: (chunk, encoding, callback) => setImmediate(note("write of one that is busy", callback)) });
	busy.write("a", noted("the first write is done"));
	busy.write("b", noted("the second write is done"));
	busy.on("drain", noted("drain"));
	finished(busy, noted("finished"));
	busy.end();
	await once(busy, "close");
	const [zipped, zip] = done("gzip");
	zlib.gzip("text", zipped);
	await zip;
	const gunzip = zlib.createGunzip();
	gunzip.on("data", noted("data of gunzip"));
	gunzip.end(zlib.gzipSync("text"), noted("end of gunzip"));
	await once(gunzip, "end");
	const [out, wait] = done("write of stdout");
	process.stdout.write("one line\n", out);
	await wait;
	console.log({ [require("util").inspect.custom]: noted("inspected", "two") });
	console.log("%s", { toString: noted("made a string", "three") });
}

async function calls(port) {
	const request = http.request({ port, host: "127.0.0.1", path: "/called", method: "POST", agent: false }, noted("answer to http.request"));
	for (const name of ["socket", "finish", "response", "close"]) {
		request.on(name, noted(name + " of a call"));
	}
	request.end("body", noted("end of a call"));
	const [response] = await once(request, "response");
	for (const name of ["data", "end", "close"]) {
		response.on(name, noted(name + " of an answer"));
	}
	await once(response, "close");
	const failing = http.get({ port: 1, host: "127.0.0.1", agent: false });
	const [closed, closing] = done("close of a call that failed");
	failing.on("error", noted("error of a call")).on("close", closed);
	await closing;
	const agent = new http.Agent({ keepAlive: true });
	agent.createConnection = (options, call) => net.connect(options, note("createConnection", call));
	await once(http.get({ port, host: "127.0.0.1", agent, path: "/called" }, (answer) => answer.resume()), "close");
	agent.destroy();
	try {
		http.get("http://127.0.0.1:99999/");
	} catch (error) {
		stacks.set("a port that is none", error.stack.split("\n"));
	}
	await (await fetch("http://127.0.0.1:" + port + "/called")).text();
	note("behind fetch");
	await fetch("http://127.0.0.1:1/").catch(noted("fetch failed"));
}

async function sockets() {
	const server = net.createServer((socket) => {
		note("connection");
		socket.on("data", noted("data of a connection"));
		socket.end("bye", noted("end of a connection"));
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const socket = net.connect(server.address().port, "127.0.0.1", noted("connected"));
	socket.on("data", noted("data of a socket"));
	socket.write("hello", noted("write of a socket"));
	await once(socket, "close");
	server.close();
	const udp = dgram.createSocket("udp4");
	udp.bind(0, "127.0.0.1");
	await once(udp, "listening");
	const [told, telling] = done("message of a datagram");
	udp.on("message", told);
	udp.send("x", udp.address().port, "127.0.0.1", noted("send of a datagram"));
	await telling;
	udp.close();
}

async function sessions() {
	const server = http2.createServer((request, response) => {
		note("request of http2");
		response.on("close", noted("close of http2"));
		request.on("data", noted("data of http2"));
		request.on("end", () => response.end(note("end of http2", "text")));
	});
	server.on("stream", noted("stream"));
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const session = http2.connect("http://127.0.0.1:" + server.address().port, noted("a session"));
	const stream = session.request({ ":path": "/", ":method": "POST" });
	for (const name of ["response", "data", "end"]) {
		stream.on(name, noted(name + " of a stream"));
	}
	stream.end("body");
	await once(stream, "close");
	session.close();
	await once(session, "close");
	server.close();
}

async function others() {
	const child = child_process.spawn(process.execPath, ["--version"]);
	child.on("spawn", noted("spawn"));
	child.on("exit", noted("exit of a child"));
	child.stdout.on("data", noted("data of a child"));
	await once(child, "close");
	await new Promise(setImmediate);
	try {
		child_process.spawn("a\0b");
	} catch (error) {
		stacks.set("spawn fails", error.stack.split("\n"));
	}
	const worker = new Worker("require('worker_threads').parentPort.once('message', (m, p = require('worker_threads').parentPort) => " +
		"p.postMessage(new Error('in a worker').stack))", { eval: true, stdout: true });
	worker.on("message", (stack) => stacks.set("in a worker", stack.split("\n")));
	worker.postMessage(1);
	await once(worker, "exit");
	const { port1, port2 } = new MessageChannel();
	const [got, getting] = done("message of a port");
	port1.on("message", got);
	port2.postMessage(1);
	await getting;
	port1.close();
	const channels = [new BroadcastChannel("x"), new BroadcastChannel("x")];
	const [cast, casting] = done("message of a channel");
	channels[0].onmessage = cast;
	channels[1].postMessage(1);
	await casting;
	channels.forEach((channel) => channel.close());
	const [observed, observing] = done("observed");
	new PerformanceObserver((list, observer) => observed(observer.disconnect())).observe({ entryTypes: ["mark"] });
	performance.mark("x");
	await observing;
}

/* While a module is loaded. */
function modules() {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "stacks-"));
	const packages = path.join(folder, "node_modules");
	try {
		/* The second is one of those that we watch. */
		for (const name of ["some", "bluebird"]) {
			fs.mkdirSync(path.join(packages, name), { recursive: true });
			fs.writeFileSync(path.join(packages, name, "index.js"), "module.exports = class { then() {} };\n" +
				"module.exports.stack = new Error('loading').stack;\n");
			const { stack } = require(path.join(packages, name));
			stacks.set("loading " + name, stack.replaceAll(folder, "").split("\n"));
		}
		fs.writeFileSync(path.join(folder, "fails.js"), "}");
		require(path.join(folder, "fails.js"));
	} catch (error) {
		stacks.set("a module that does not parse", error.stack.replaceAll(folder, "").split("\n"));
	} finally {
		fs.rmSync(folder, { recursive: true });
	}
}

const server = http.createServer((request, response) => {
	note("request listener");
	if (request.url === "/called") {
		request.on("data", noted("data of a request"));
		request.on("end", () => response.end(note("end of a request", "answer")));
		response.on("finish", noted("finish of a response"));
		response.on("close", noted("close of a response"));
		return;
	}
	inside(request, response).catch((error) => console.log(error)).then(() => response.end("done"));
});

async function inside(request, response) {
	note("before any await");
	const { port } = server.address();
	for (const part of [timers, emitters, contexts, files, streams, () => calls(port), sockets, sessions, others, modules]) {
		await part(request, response);
		note("behind " + part.name);
	}
}

server.on("connection", noted("connection of a server"));
server.on("upgrade", (request, socket) => {
	note("upgrade");
	socket.on("close", noted("close of an upgraded socket"));
	socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
});

function upgrade(port, then) {
	const headers = { Connection: "Upgrade", Upgrade: "x" };
	http.get({ port, host: "127.0.0.1", agent: false, headers }).on("upgrade", (response, socket) => {
		note("upgraded");
		socket.resume().on("close", then);
	});
}

process.on("uncaughtException", (error) => {
	note("uncaughtException");
	stacks.set("uncaught", error.stack.split("\n"));
	for (const name of [...stacks.keys()].sort()) {
		process.stdout.write("--- " + name + "\n");
		for (const line of stacks.get(name)) {
			process.stdout.write(line.trim() + "\n");
		}
	}
	server.close();
});

server.listen(0, "127.0.0.1", () => {
	const { port } = server.address();
	http.get({ port, host: "127.0.0.1", agent: false }, (answer) => answer.resume().on("end", () => upgrade(port, () => {
		setImmediate(() => {
			throw new Error("thrown");
		});
	})));
});

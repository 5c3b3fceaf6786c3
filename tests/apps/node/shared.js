"use strict";
/*
 * Something that the first request makes, and that all others use as well: node shared.js PORT KIND
 * The first one stays until many others were answered. Lines of awaits go to stdout; those of what comes back from what is shared to
 * stderr: they come in the context of whoever made it, and may have no id, but never another request's. Of the kinds "own-..." each
 * request makes one for itself, and all lines go to stdout.
 */
const { AsyncLocalStorage } = require("node:async_hooks");
const childProcess = require("node:child_process");
const dgram = require("node:dgram");
const { once } = require("node:events");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const { Duplex } = require("node:stream");
const threads = require("node:worker_threads");
const zlib = require("node:zlib");

const OTHERS = 40;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.random() * ms));

/* What is on the other side sends everything back, later. */
const echoed = (send) => (data) => setTimeout(send, Math.random() * 10, data);

if (!threads.isMainThread && threads.workerData === "port") {
	/* Answers come by a port of their own, in the turn of whoever asked next. */
	threads.parentPort.once("message", (port) => {
		threads.parentPort.on("message", echoed((data) => port.postMessage(data)));
	});
	return;
}
if (!threads.isMainThread) {
	threads.parentPort.on("message", echoed((data) => {
		if (threads.workerData === "worker") {
			console.error(`n=${data} in a thread`);
		}
		threads.parentPort.postMessage(data);
	}));
	return;
}
if (process.argv[2] === "child") {
	process.on("message", echoed((data) => process.send(data)));
	return;
}

const [port, kind] = process.argv.slice(2);
const what = kind.replace("own-", "");
let told = (text) => console.error(text);
const waiting = new Map();
let behind;

function reply(n) {
	told(`n=${n} reply`);
	waiting.get(n)();
	waiting.delete(n);
}

/* Numbers, a line each, by a stream. */
function byLines(from, to) {
	let rest = "";
	from.setEncoding("utf8").on("data", (data) => {
		const lines = (rest + data).split("\n");
		rest = lines.pop();
		for (const line of lines) {
			reply(Number(line));
		}
	});
	return { ask: (n) => to.write(`${n}\n`), end: () => to.end() };
}

const secure = { host: "127.0.0.1", ca: process.env.TLS_CERT && fs.readFileSync(process.env.TLS_CERT) };
const makers = {
	net() {
		const socket = net.connect(behind);
		return byLines(socket, socket);
	},
	tls() {
		const socket = require("node:tls").connect({ ...secure, port: behind });
		return byLines(socket, socket);
	},
	"tls-over"() {
		const socket = require("node:tls").connect({ ...secure, socket: net.connect(behind) });
		return byLines(socket, socket);
	},
	udp() {
		const socket = dgram.createSocket("udp4").on("message", (data) => reply(Number(data)));
		return { ask: (n) => socket.send(String(n), behind, "127.0.0.1"), end: () => socket.close() };
	},
	worker() {
		const worker = new threads.Worker(__filename, { workerData: kind }).on("message", reply);
		return { ask: (n) => worker.postMessage(n), end: () => worker.terminate() };
	},
	port() {
		const worker = new threads.Worker(__filename, { workerData: kind });
		const { port1, port2 } = new threads.MessageChannel();
		worker.postMessage(port2, [port2]);
		port1.on("message", reply);
		return { ask: (n) => worker.postMessage(n), end: () => worker.terminate() };
	},
	"port-here"() {
		const { port1, port2 } = new MessageChannel();
		port1.onmessage = ({ data }) => reply(data);
		return { ask: (n) => port2.postMessage(n), end: () => port1.close() };
	},
	broadcast() {
		const [from, to] = [new BroadcastChannel("replies"), new BroadcastChannel("replies")];
		to.onmessage = ({ data }) => reply(data);
		return { ask: (n) => from.postMessage(n), end: () => [from, to].map((channel) => channel.close()) };
	},
	snapshot() {
		const run = AsyncLocalStorage.snapshot();
		return { ask: (n) => run(setImmediate, reply, n), end: () => {} };
	},
	observer() {
		new PerformanceObserver((list) => list.getEntries().forEach(({ name }) => reply(Number(name)))).observe({ entryTypes: ["mark"] });
		return { ask: (n) => performance.mark(String(n)), end: () => {} };
	},
	/* Stored, not compressed: so the numbers can be read. */
	gzip() {
		const gzip = zlib.createGzip({ level: 0, flush: zlib.constants.Z_SYNC_FLUSH });
		gzip.on("data", (data) => (String(data).match(/<[0-9]+>/g) ?? []).forEach((n) => reply(Number(n.slice(1, -1)))));
		return { ask: (n) => gzip.write(`<${n}>`), end: () => gzip.end() };
	},
	fork() {
		const child = childProcess.fork(__filename, ["child"]).on("message", reply);
		return { ask: (n) => child.send(n), end: () => child.disconnect() };
	},
	spawn() {
		const child = childProcess.spawn("cat");
		return byLines(child.stdout, child.stdin);
	},
	exec() {
		const child = childProcess.exec("cat", (error, text) => reply(Number(text)));
		return { ask: (n) => child.stdin.end(String(n)), end: () => {} };
	},
	"write-net"() {
		const socket = net.connect(behind);
		return { ask: (n) => socket.write(Buffer.alloc(200000, "\n"), () => reply(n)), end: () => socket.end() };
	},
	"write-gzip"() {
		const gzip = zlib.createGzip().resume();
		return { ask: (n) => gzip.write(String(n), () => reply(n)), end: () => gzip.end() };
	},
	"write-duplex"() {
		const duplex = new Duplex({ read() {}, write: (chunk, encoding, done) => setTimeout(done, 1) });
		return { ask: (n) => duplex.write(String(n), () => reply(n)), end: () => duplex.end() };
	},
};

let shared;
let served = 0;
let enough;
const others = new Promise((resolve) => (enough = resolve));

async function serve(n, own) {
	console.log(`n=${n} begins`);
	await pause(3);
	const first = !shared;
	const peer = own ? makers[what]() : (shared ??= makers[what]());
	const answer = new Promise((resolve) => waiting.set(n, resolve));
	peer.ask(n);
	await answer;
	console.log(`n=${n} has its answer`);
	await (first && !own ? others : pause(3));
	if (own) {
		peer.end();
	}
	console.log(`n=${n} ends`);
	if (++served === OTHERS) {
		enough();
	}
}

const server = http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	await serve(n, kind !== what);
	response.end(`n=${n} done\n`);
});

/* What is asked over the network is in this process, and was there before all requests. */
async function open() {
	if (kind !== what) {
		told = (text) => console.log(text);
	}
	if (what === "udp") {
		const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1");
		socket.on("message", (data, from) => echoed(() => socket.send(data, from.port, from.address))());
		await once(socket, "listening");
		behind = socket.address().port;
	} else if (what === "write-net") {
		/* It reads now and then, so that writes have to wait. */
		const listener = net.createServer((socket) => socket.on("data", () => {
			socket.pause();
			setTimeout(() => socket.resume(), 1);
		}).on("error", () => {})).listen(0, "127.0.0.1");
		await once(listener, "listening");
		behind = listener.address().port;
	} else if (what === "net" || what.startsWith("tls")) {
		const echo = (socket) => socket.on("data", echoed((data) => socket.writable && socket.write(data))).on("error", () => {});
		const keys = what === "net" ? {} : { key: fs.readFileSync(process.env.TLS_KEY), cert: fs.readFileSync(process.env.TLS_CERT) };
		const listener = (what === "net" ? net.createServer(echo) : require("node:tls").createServer(keys, echo)).listen(0, "127.0.0.1");
		await once(listener, "listening");
		behind = listener.address().port;
	}
	server.listen(Number(port), "127.0.0.1", 1024);
}

open();

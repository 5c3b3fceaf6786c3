"use strict";
// One request's work: a handful of the ways in which Node waits, with a line before and after each. Which ones, and for how
// long, differs from request to request, so that many of them interleave.
const { execFile, spawn } = require("node:child_process");
const crypto = require("node:crypto");
const dns = require("node:dns");
const { EventEmitter, once } = require("node:events");
const fs = require("node:fs");
const net = require("node:net");
const { Readable, Transform, pipeline } = require("node:stream");
const { promisify } = require("node:util");
const zlib = require("node:zlib");

const pause = () => Math.random() * 8;

const thenable = (value) => ({ then: (resolve) => setImmediate(resolve, value) });

async function* ticks(count) {
	for (let i = 0; i < count; i++) {
		await new Promise(setImmediate);
		yield String(i);
	}
}

const shout = () =>
	new Transform({
		transform(chunk, encoding, done) {
			setTimeout(done, pause() / 4, null, String(chunk).toUpperCase());
		},
	});

// A server of the program's own, for work that is a round trip over a socket.
let echo;
function echoPort() {
	echo ??= new Promise((resolve) => {
		const server = net.createServer((socket) => socket.on("error", () => {}).pipe(socket));
		server.listen(0, "127.0.0.1", () => resolve(server.address().port)).unref();
	});
	return echo;
}

// Each calls `done` once; `say` logs a line of the request.
const steps = {
	timeout: (say, done) => setTimeout(done, pause()),
	interval(say, done) {
		let left = 3;
		const timer = setInterval(() => {
			say(`interval ${left}`);
			if (--left === 0) {
				clearInterval(timer);
				done();
			}
		}, 1);
	},
	immediate: (say, done) => setImmediate(() => process.nextTick(() => queueMicrotask(done))),
	async awaits(say, done) {
		for (let i = 0; i < 10; i++) {
			await null;
			await thenable(i);
		}
		say("awaited");
		done();
	},
	async race(say, done) {
		await Promise.race([new Promise((r) => setTimeout(r, pause())), new Promise((r) => setTimeout(r, pause()))]);
		await Promise.all([1, 2, 3].map((x) => new Promise((r) => setTimeout(r, pause(), x))));
		done();
	},
	async file(say, done) {
		const text = await fs.promises.readFile(__filename, "utf8");
		say(`file of ${text.length > 0}`);
		fs.stat(__filename, () => fs.readFile(__filename, done));
	},
	fileStream: (say, done) =>
		fs
			.createReadStream(__filename, { highWaterMark: 512 })
			.on("data", () => {})
			.on("end", done),
	hash: (say, done) => crypto.pbkdf2("secret", "salt", 50, 16, "sha1", () => crypto.randomBytes(16, done)),
	lookup: (say, done) => dns.lookup("localhost", () => dns.promises.lookup("127.0.0.1").then(done)),
	zip: (say, done) => zlib.gzip("text".repeat(100), (error, data) => promisify(zlib.gunzip)(data).then(() => done())),
	stream: (say, done) => pipeline(Readable.from(ticks(3)), shout(), async (source) => {
		for await (const part of source) say(`part ${part}`);
	}, done),
	async event(say, done) {
		const emitter = new EventEmitter();
		emitter.on("now", () => say("event"));
		setTimeout(() => emitter.emit("now"), pause());
		await once(emitter, "now");
		done();
	},
	async socket(say, done) {
		const socket = net.connect(await echoPort(), "127.0.0.1", () => socket.write("hello"));
		socket.once("data", () => socket.end());
		socket.on("close", done);
	},
	async channel(say, done) {
		const { port1, port2 } = new MessageChannel();
		port1.postMessage("hello");
		await new Promise((resolve) => port2.once("message", resolve));
		say("message");
		port1.close();
		done();
	},
};

// Processes are slow to start: a few requests have one.
const rare = {
	command: (say, done) => execFile("/bin/echo", ["hello"], (error, out) => done(say(`command ${out.trim()}`))),
	child(say, done) {
		const child = spawn("/bin/cat", { stdio: ["pipe", "pipe", "inherit"] });
		child.stdout.on("data", (data) => say(`child ${data}`));
		child.on("close", done);
		child.stdin.end("hello");
	},
};

const names = Object.keys(steps);

async function work(n, say) {
	for (let i = 0; i < 3; i++) {
		const name = names[(n + i * 5) % names.length];
		say(`before ${name}`);
		await new Promise((done) => steps[name](say, done));
		say(`after ${name}`);
	}
	if (n % 50 === 0) {
		const name = n % 100 === 0 ? "command" : "child";
		await new Promise((done) => rare[name](say, done));
		say(`after ${name}`);
	}
}

module.exports = { work, pause };

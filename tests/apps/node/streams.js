"use strict";
/*
 * Streams that all requests share, on the way of their lines to a log: node streams.js PORT SHAPE
 * What a stream keeps comes out when it has room, on whoever's account that is.
 */
const fs = require("node:fs");
const http = require("node:http");
const readline = require("node:readline");
const { PassThrough, Readable, Transform, Writable } = require("node:stream");

const slow = (done) => (Math.random() < 0.2 ? setTimeout(done, 1) : setImmediate(done));
const out = (chunk) => process.stdout.write(chunk);

const shouting = (options) =>
	new Transform({
		...options,
		transform(chunk, encoding, done) {
			slow(() => done(null, `${chunk}`.replace("slow", "SLOW")));
		},
	});

/* Each makes a stream, and returns what writes a line to it. */
const shapes = {
	// A sink that takes its time, and prints one chunk after another.
	writable() {
		const sink = new Writable({
			write(chunk, encoding, done) {
				slow(() => {
					out(chunk);
					done();
				});
			},
		});
		return (line) => sink.write(line);
	},
	// The same, with lines that are printed when a chunk begins.
	"writable-sync"() {
		const sink = new Writable({
			objectMode: true,
			write(line, encoding, done) {
				console.log(line.slice(0, -1));
				slow(done);
			},
		});
		return (line) => sink.write(line);
	},
	writev() {
		const sink = new Writable({
			decodeStrings: false,
			writev(chunks, done) {
				for (const { chunk } of chunks) out(chunk);
				slow(done);
			},
		});
		return (line) => sink.write(line);
	},
	"pass-through"() {
		const bus = new PassThrough();
		bus.on("data", out);
		return (line) => bus.write(line);
	},
	"pass-through-paused"() {
		const bus = new PassThrough({ highWaterMark: 100 });
		bus.on("data", (chunk) => {
			out(chunk);
			bus.pause();
			setTimeout(() => bus.resume(), 1);
		});
		return (line) => bus.write(line);
	},
	"pass-through-text"() {
		const bus = new PassThrough({ encoding: "utf8", highWaterMark: 100 });
		bus.on("data", (chunk) => {
			out(chunk);
			bus.pause();
			setImmediate(() => bus.resume());
		});
		return (line) => bus.write(line);
	},
	transform() {
		const bus = shouting();
		bus.on("data", out);
		return (line) => bus.write(line);
	},
	objects() {
		const bus = shouting({ objectMode: true });
		bus.on("data", (line) => console.log(line.trimEnd()));
		return (line) => bus.write(line);
	},
	piped() {
		const bus = shouting();
		bus.pipe(process.stdout);
		return (line) => bus.write(line);
	},
	// Lines of the program's own, beside what it pipes there.
	"beside-pipe"() {
		const bus = new PassThrough();
		bus.pipe(process.stdout);
		bus.write("before all\n");
		return (line) => process.stdout.write(line);
	},
	file() {
		const bus = shouting();
		const log = fs.createWriteStream("/dev/stdout", { flags: "a" });
		bus.on("data", (chunk) => log.write(chunk));
		return (line) => bus.write(line);
	},
	readable() {
		const bus = new Readable({ read() {} });
		bus.on("data", out);
		return (line) => bus.push(line);
	},
	reading() {
		const bus = new Readable({ objectMode: true, read() {} });
		bus.on("readable", () => {
			for (let line = bus.read(); line !== null; line = bus.read()) out(line);
		});
		return (line) => bus.push(line);
	},
	iterated() {
		const bus = shouting({ objectMode: true });
		(async () => {
			for await (const line of bus) out(line);
		})();
		return (line) => bus.write(line);
	},
	// Begun by the first request that has something to say.
	"iterated-later"() {
		const bus = shouting({ objectMode: true });
		const read = async () => {
			for await (const line of bus) out(line);
		};
		let reading;
		return (line) => {
			reading ??= read();
			bus.write(line);
		};
	},
	readline() {
		const bus = new PassThrough();
		readline.createInterface({ input: bus }).on("line", (line) => console.log(line));
		return (line) => bus.write(line);
	},
};

const log = shapes[process.argv[3]]();

http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	for (let i = 0; i < 3; i++) {
		log(`n=${n} slow line ${i}\n`);
		if (i === 1) log(`n=${n} slow line after ${i}\n`);
		await new Promise((done) => setTimeout(done, 4 + Math.random() * 8));
	}
	console.error(`n=${n} ends`);
	response.end(`n=${n} done\n`);
}).listen(Number(process.argv[2]), "127.0.0.1", 1024);

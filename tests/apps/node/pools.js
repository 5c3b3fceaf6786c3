"use strict";
/*
 * Work that programs queue by hand: one request's completion runs another's job. AsyncLocalStorage follows the callbacks,
 * and so names the wrong request. node pools.js PORT SHAPE
 */
const { EventEmitter } = require("node:events");
const http = require("node:http");
const net = require("node:net");

const pause = () => Math.random() * 4;

// ---- a queue with two slots; the job that ends starts the next one --------------------------------------------------

class Queue {
	constructor(slots) {
		this.free = slots;
		this.jobs = [];
	}

	push(job) {
		this.jobs.push(job);
		this.run();
	}

	run() {
		if (this.free === 0 || this.jobs.length === 0) return;
		this.free--;
		const job = this.jobs.shift();
		job(() => {
			this.free++;
			this.run();
		});
	}
}

const queue = new Queue(2);

function jobOf(say, finish, early) {
	return (done) => {
		say("job begins");
		setTimeout(() => {
			say("job between");
			setImmediate(() => {
				say("job ends");
				if (early) {
					done();
					finish();
				} else {
					finish();
					done();
				}
			});
		}, pause());
	};
}

// ---- one connection for all, opened by whoever comes first, answers in order: as redis clients do --------------------

class LineClient {
	constructor() {
		this.waiting = [];
		this.rest = "";
	}

	ask(text, callback) {
		this.socket ??= this.connect();
		this.waiting.push(callback);
		this.socket.write(`${text}\n`);
	}

	connect() {
		const socket = net.connect(upstream.address().port, "127.0.0.1");
		socket.setEncoding("utf8");
		socket.on("data", (data) => {
			const lines = (this.rest + data).split("\n");
			this.rest = lines.pop();
			for (const line of lines) this.waiting.shift()(line);
		});
		return socket;
	}
}

const upstream = net.createServer((socket) => {
	socket.on("error", () => {});
	socket.on("data", (data) => setTimeout(() => socket.write(data), pause() / 2));
});

const client = new LineClient();

// ---- a pool of objects that are handed over in the releaser's call ---------------------------------------------------

class Pool extends EventEmitter {
	constructor(size) {
		super();
		this.setMaxListeners(0);
		this.idle = Array.from({ length: size }, (_, id) => ({ id }));
		this.waiting = [];
	}

	acquire(callback) {
		if (this.idle.length) process.nextTick(callback, this.idle.pop());
		else this.waiting.push(callback);
	}

	acquired() {
		return new Promise((resolve) => this.acquire(resolve));
	}

	release(item) {
		const next = this.waiting.shift();
		if (next) next(item);
		else this.idle.push(item);
	}
}

const pool = new Pool(2);

// ---- several requests' work done at once, by whoever completes the batch or by a timer -------------------------------

const batch = { jobs: [], timer: null };

function collect(callback) {
	batch.jobs.push(callback);
	if (batch.jobs.length >= 5) flush();
	else batch.timer ??= setTimeout(flush, 3);
}

function flush() {
	clearTimeout(batch.timer);
	batch.timer = null;
	for (const job of batch.jobs.splice(0)) job();
}

const shapes = {
	"queue-after": (say, finish) => queue.push(jobOf(say, finish, false)),
	"queue-before": (say, finish) => queue.push(jobOf(say, finish, true)),
	"queue-promise": async (say, finish) => {
		await new Promise((resolve) => queue.push((done) => jobOf(say, resolve, true)(done)));
		say("promise resolved");
		finish();
	},
	// What is left to do once the client has its answer.
	"queue-background": (say, finish) => {
		finish();
		queue.push(jobOf(say, () => {}, true));
	},
	"one-connection": (say, finish) =>
		client.ask("get a", () => {
			say("first answer");
			client.ask("get b", () => {
				say("second answer");
				setTimeout(() => {
					say("job ends");
					finish();
				}, pause());
			});
		}),
	"one-connection-promise": async (say, finish) => {
		const ask = (text) => new Promise((resolve) => client.ask(text, resolve));
		await ask("get a");
		say("first answer");
		await ask("get b");
		say("second answer");
		finish();
	},
	"pool-callback": (say, finish) =>
		pool.acquire((item) => {
			say("item acquired");
			setTimeout(() => {
				say("job ends");
				pool.release(item);
				finish();
			}, pause());
		}),
	"pool-promise": async (say, finish) => {
		const item = await pool.acquired();
		say("item acquired");
		await new Promise((done) => setTimeout(done, pause()));
		say("job ends");
		finish();
		pool.release(item);
	},
	batch: (say, finish) =>
		collect(() => {
			say("in a batch");
			setTimeout(() => {
				say("job ends");
				finish();
			}, pause());
		}),
};

const shape = shapes[process.argv[3]];

const server = http.createServer((request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	// What runs in the queue goes to stderr: these lines may have no id, but never another request's.
	console.log(`n=${n} begins`);
	const say = (text) => console.error(`n=${n} ${text}`);
	shape(say, () => {
		say("finishes");
		response.end(`n=${n} done\n`);
	});
});
upstream.listen(0, "127.0.0.1", () => server.listen(Number(process.argv[2]), "127.0.0.1", 1024));

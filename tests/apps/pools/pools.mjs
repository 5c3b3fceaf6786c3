/*
 * Queues, limiters and pools that requests share, as programs use them: node pools.mjs PORT FOLDER SHAPE [import]
 * FOLDER has the packages; `import`: they are imported, not required. Whatever a request does says its number; a response is
 * ended long after the request's first job, so that other requests' jobs begin from the end of its own.
 */
import http from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, folder, shape, imported] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const WIDTH = 2;

async function load(name) {
	if (imported === undefined) {
		return require(name);
	}
	const module = await import(pathToFileURL(require.resolve(name)));
	return module.default ?? module;
}

const later = () => new Promise((done) => setTimeout(done, Math.random() * 4));
const isClass = (loaded) => loaded.default ?? loaded;

async function job(say) {
	say("job begins");
	await later();
	say("job between");
	await new Promise((done) => setImmediate(done));
	say("job ends");
	return "result";
}

function jobBack(say, done) {
	say("job begins");
	setTimeout(() => {
		say("job between");
		setImmediate(() => {
			say("job ends");
			done(null, "result");
		});
	}, Math.random() * 4);
}

/* What several requests wait for; and what each waits for then. */
let shared;

function thens(say, delay) {
	if (shared === undefined) {
		shared = delay();
		const forget = () => {
			shared = undefined;
		};
		shared.then(forget, forget);
	}
	return shared
		.then(() => say("delayed"))
		.then(() => new Promise((resolve) => setImmediate(resolve)))
		.then(() => {
			say("again");
			throw new Error("wanted");
		})
		.then(null, (error) => {
			say(error.message);
			return "result";
		});
}

const limited = (name) => async () => {
	const limit = isClass(await load(name))(WIDTH);
	return (say) => limit(job, say);
};

/* Each makes what requests share, and returns how one of them has its job done: a promise of "result". */
const shapes = {
	"p-limit": limited("p-limit"),
	"p-limit-5": limited("p-limit-5"),
	async "p-queue"() {
		const Queue = isClass(await load("p-queue"));
		const queue = new Queue({ concurrency: WIDTH });
		return (say) => queue.add(() => job(say));
	},
	async "p-queue-all"() {
		const Queue = isClass(await load("p-queue"));
		const queue = new Queue({ concurrency: WIDTH });
		return async (say) => (await queue.addAll([() => job(say)]))[0];
	},
	async bottleneck() {
		const Bottleneck = await load("bottleneck");
		const limiter = new Bottleneck({ maxConcurrent: WIDTH });
		return (say) => limiter.schedule(job, say);
	},
	async "bottleneck-wrap"() {
		const Bottleneck = await load("bottleneck");
		const wrapped = new Bottleneck({ maxConcurrent: WIDTH, minTime: 1 }).wrap(job);
		return (say) => wrapped(say);
	},
	async "bottleneck-submit"() {
		const Bottleneck = await load("bottleneck");
		const limiter = new Bottleneck({ maxConcurrent: WIDTH });
		return (say) =>
			new Promise((resolve) => {
				limiter.submit({ priority: 4 }, jobBack, say, (error, result) => {
					say("called back");
					resolve(result);
				});
			});
	},
	async "async-queue"() {
		const queue = (await load("async")).queue((say, done) => jobBack(say, done), WIDTH);
		return (say) =>
			new Promise((resolve) => {
				queue.push(say, (error, result) => {
					say("called back");
					resolve(result);
				});
			});
	},
	async "async-queue-promise"() {
		const queue = (await load("async")).queue(async (say) => job(say), WIDTH);
		return (say) => queue.pushAsync(say);
	},
	async "async-priority"() {
		const queue = (await load("async")).priorityQueue((say, done) => jobBack(say, done), WIDTH);
		return (say) => queue.pushAsync(say, Math.floor(Math.random() * 3));
	},
	async "async-cargo"() {
		const cargo = (await load("async")).cargo((batch, done) => {
			for (const say of batch) say("in a batch");
			setTimeout(() => {
				for (const say of batch) say("batch ends");
				done(null, "result");
			}, 2);
		}, 5);
		return (say) =>
			new Promise((resolve) => {
				cargo.push(say, (error, result) => {
					say("called back");
					resolve(result);
				});
			});
	},
	async fastq() {
		const queue = (await load("fastq"))((say, done) => jobBack(say, done), WIDTH);
		return (say) =>
			new Promise((resolve) => {
				queue.push(say, (error, result) => {
					say("called back");
					resolve(result);
				});
			});
	},
	async "fastq-unshift"() {
		const queue = (await load("fastq"))((say, done) => jobBack(say, done), WIDTH);
		let count = 0;
		return (say) =>
			new Promise((resolve) => {
				queue[count++ % 3 === 0 ? "unshift" : "push"](say, (error, result) => resolve(result));
			});
	},
	async "fastq-promise"() {
		const queue = (await load("fastq")).promise(job, WIDTH);
		return (say) => queue.push(say);
	},
	async "async-lock"() {
		const Lock = await load("async-lock");
		const lock = new Lock();
		return (say) => lock.acquire("key", () => job(say));
	},
	async "async-lock-callback"() {
		const Lock = await load("async-lock");
		const lock = new Lock();
		return (say) =>
			new Promise((resolve) => {
				lock.acquire(
					["key", "other"],
					(done) => jobBack(say, done),
					(error, result) => {
						say("called back");
						resolve(result);
					},
				);
			});
	},
	async "promise-queue"() {
		const Queue = await load("promise-queue");
		const queue = new Queue(WIDTH);
		return (say) => queue.add(() => job(say));
	},
	async semaphore() {
		const semaphore = (await load("semaphore"))(WIDTH);
		return (say) =>
			new Promise((resolve) => {
				semaphore.take((leave) => {
					jobBack(say, (error, result) => {
						resolve(result);
						leave();
					});
				});
			});
	},
	async inflight() {
		const inflight = await load("inflight");
		return (say) =>
			new Promise((resolve) => {
				const first = inflight("key", (error, result) => {
					say("called back");
					resolve(result);
				});
				if (first !== null) setTimeout(first, 2, null, "result");
			});
	},
	async "generic-pool"() {
		const pool = (await load("generic-pool")).createPool(
			{ create: async () => ({}), destroy: async () => {} },
			{ max: WIDTH },
		);
		return async (say) => {
			const item = await pool.acquire();
			const result = await job(say);
			await pool.release(item);
			return pool.use(async () => result);
		};
	},
	async "generic-pool-callback"() {
		const { Pool } = await load("generic-pool");
		const pool = new Pool({ max: WIDTH, create: (done) => setImmediate(done, null, {}), destroy() {} });
		return (say) =>
			new Promise((resolve) => {
				pool.acquire((error, item) => {
					jobBack(say, (failed, result) => {
						pool.release(item);
						say("released");
						resolve(result);
					});
				});
			});
	},
	async tarn() {
		const { Pool } = await load("tarn");
		const pool = new Pool({ create: async () => ({}), destroy() {}, min: 0, max: WIDTH });
		return async (say) => {
			const item = await pool.acquire().promise;
			const result = await job(say);
			pool.release(item);
			return result;
		};
	},
	async dataloader() {
		const Loader = await load("dataloader");
		const loader = new Loader(
			async (says) => {
				for (const say of says) say("in a batch");
				await later();
				for (const say of says) say("batch ends");
				return says.map(() => "result");
			},
			{ cache: false, batchScheduleFn: (run) => setTimeout(run, 3) },
		);
		return (say) => loader.load(say);
	},
	async bluebird() {
		const Bluebird = await load("bluebird");
		return (say) =>
			Bluebird.delay(Math.random() * 2)
				.then(() => say("delayed"))
				.delay(1)
				.finally(() => say("in the end"))
				.then(() =>
					Bluebird.map([1, 2, 3], (step) => Bluebird.delay(Math.random()).then(() => say(`step ${step}`)), {
						concurrency: 2,
					}),
				)
				.then(() => Bluebird.fromCallback((done) => jobBack(say, done)))
				.tap(() => say("tapped"));
	},
	async "bluebird-coroutine"() {
		const Bluebird = await load("bluebird");
		const work = Bluebird.coroutine(function* (say) {
			say("begins");
			yield Bluebird.delay(Math.random() * 2);
			say("delayed");
			try {
				yield Bluebird.delay(1).then(() => {
					throw new Error("wanted");
				});
			} catch (error) {
				say(error.message);
			}
			return yield Bluebird.delay(1, "result");
		});
		return (say) => work(say);
	},
	// Promises of before there were any: each with a queue of what is to be called.
	async promise() {
		const Promised = await load("promise");
		return (say) => thens(say, () => new Promised((resolve) => setTimeout(resolve, 2)));
	},
	async q() {
		const Q = await load("q");
		return (say) => thens(say, () => Q.delay(2)).fin(() => say("in the end"));
	},
	async rsvp() {
		const { Promise: Promised } = await load("rsvp");
		return (say) => thens(say, () => new Promised((resolve) => setTimeout(resolve, 2)));
	},
	async when() {
		const when = await load("when");
		return (say) => thens(say, () => when().delay(2));
	},
	async "lru-memoizer"() {
		const memoizer = await load("lru-memoizer");
		const answer = memoizer({ load: (key, done) => setTimeout(done, 4, null, key), hash: String, max: 9, maxAge: 2 });
		return (say) => new Promise((resolve) => answer("result", (error, result) => {
			say("called back");
			setImmediate(() => {
				say("again");
				resolve(result);
			});
		}));
	},
	async queue() {
		const Queue = await load("queue");
		const queue = new Queue({ concurrency: WIDTH, autostart: true });
		return (say) => new Promise((resolve) => queue.push((done) => jobBack(say, (...all) => {
			done(...all);
			resolve(all[1]);
		})));
	},
	// Messages that are compressed and expanded for so many connections at a time; each is sent back.
	async ws() {
		const loaded = imported ? await import(pathToFileURL(`${folder}/node_modules/ws/wrapper.mjs`)) : require("ws");
		const { WebSocket = loaded, WebSocketServer = loaded.Server } = loaded;
		const perMessageDeflate = { threshold: 0, concurrencyLimit: WIDTH };
		const listener = http.createServer().listen(0, "127.0.0.1");
		const jobs = new Map();
		new WebSocketServer({ server: listener, perMessageDeflate }).on("connection", (socket, { url }) => {
			const { say, resolve } = jobs.get(url);
			socket.on("message", (message) => {
				say("message");
				socket.send(message, () => say("sent"));
				setTimeout(() => say("later"), 1);
			});
			socket.on("close", () => resolve("result"));
		});
		return (say) =>
			new Promise((resolve) => {
				const path = `/${jobs.size}`;
				jobs.set(path, { say, resolve });
				const client = new WebSocket(`ws://127.0.0.1:${listener.address().port}${path}`, { perMessageDeflate });
				let left = 3;
				const send = () => client.send("a message ".repeat(1000 * left));
				client.on("open", send).on("message", () => (--left > 0 ? send() : client.close()));
			});
	},
	async agentkeepalive() {
		const Agent = await load("agentkeepalive");
		const agent = new Agent({ maxSockets: WIDTH });
		const upstream = http.createServer((request, response) => setTimeout(() => response.end("result"), 2));
		await new Promise((done) => upstream.listen(0, "127.0.0.1", done));
		return (say) =>
			new Promise((resolve) => {
				http.get({ agent, host: "127.0.0.1", port: upstream.address().port }, (response) => {
					say("answered");
					let text = "";
					response.setEncoding("utf8").on("data", (part) => {
						say("a part");
						text += part;
					});
					response.on("end", () => {
						say("end");
						resolve(text);
					});
				});
			});
	},
};

const work = await shapes[shape]();

const server = http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	const say = (text) => console.log(`n=${n} ${text}`);
	say("begins");
	const first = await work(say);
	say("after the first job");
	await later();
	const second = await work(say);
	say("after the second job");
	await later();
	say(`ends ${first} ${second}`);
	response.end(`n=${n} ${first} ${second}\n`);
});
server.listen(Number(port), "127.0.0.1", 1024);

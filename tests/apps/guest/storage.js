"use strict";
/*
 * The companion's own storage (hooks/companion/storage.cjs) beside Node's AsyncLocalStorage, entered and left together: wherever
 * the program comes to be, both have to say the same. Programs are random trees of operations; what they do is told by the seed.
 *
 *	node storage.js STORAGE.CJS SEED OPERATIONS
 */
const fs = require("fs");
const net = require("net");
const dns = require("dns");
const zlib = require("zlib");
const crypto = require("crypto");
const events = require("events");
const { AsyncLocalStorage, AsyncResource } = require("async_hooks");
const { MessageChannel } = require("worker_threads");

const [, , path, seedText, operations] = process.argv;
const source = fs.readFileSync(path, "utf8");
const own = new Function("require", "apply", source + "\nreturn makeHookedStorage();")(require, Reflect.apply);
const theirs = new AsyncLocalStorage();

let seed = Number(seedText);
let left = Number(operations);
let looks = 0;
let inContext = 0;
let wrong = 0;

function random(below) {
	seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
	return (seed >>> 8) % below;
}

function look(where) {
	looks++;
	const expected = theirs.getStore();
	inContext += expected !== undefined;
	const found = own.getStore();
	if (found !== expected && wrong++ < 10) {
		console.error(`${where}: ${found && found.id} instead of ${expected && expected.id}`);
	}
}

/* Answers with its own operations going on in it. */
const server = net.createServer((socket) => {
	look("connection");
	socket.on("error", () => look("error of a connection"));
	socket.on("data", (data) => {
		look("data of a connection");
		grow();
		socket.end(data);
	});
});

const pooled = [];
const resources = [];
const emitter = new events.EventEmitter();
emitter.on("event", (next) => next("event"));
const { port1, port2 } = new MessageChannel();
port1.on("message", () => {
	look("message");
	grow();
});

let id = 0;
const fresh = () => (random(5) === 0 ? undefined : { id: ++id });

const ways = {
	nextTick: (next) => process.nextTick(next, "tick"),
	ticks(next) {
		for (let i = 0; i < 1500; i++) process.nextTick(look, "one of many ticks"); // more than are remembered
		process.nextTick(next, "tick behind many");
	},
	microtask: (next) => queueMicrotask(() => next("microtask")),
	immediate: (next) => setImmediate(next, "immediate"),
	timeout: (next) => setTimeout(next, random(3), "timeout"),
	interval(next) {
		let turns = 3;
		const timer = setInterval(() => {
			look("interval");
			if (--turns === 0) {
				clearInterval(timer);
				next("interval");
			}
		}, 1);
	},
	async promise(next) {
		await null;
		look("after an await");
		await new Promise((resolve) => setTimeout(resolve, 1));
		next("after a promise");
	},
	async both(next) {
		await Promise.all([enter(fresh(), async () => look("in an entered function")), Promise.resolve().then(() => look("then"))]);
		next("after Promise.all");
	},
	thenable: (next) => Promise.resolve({ then: (done) => done() }).then(() => next("thenable")),
	async iterate(next) {
		for await (const value of (async function* () {
			yield 1;
			look("in a generator");
			yield 2;
		})()) {
			look(`iteration ${value}`);
		}
		next("after iterations");
	},
	file: (next) => fs.stat(__filename, () => next("stat")),
	files: (next) => fs.promises.stat(__filename).then(() => next("a file's promise")),
	name: (next) => dns.lookup("127.0.0.1", () => next("lookup")),
	bytes: (next) => crypto.randomBytes(8, () => next("random bytes")),
	gzip: (next) => zlib.deflate("text", () => next("deflate")),
	connect(next) {
		const socket = net.connect(server.address().port, "127.0.0.1", () => {
			look("connected");
			socket.write("x");
		});
		socket.on("data", () => look("data"));
		socket.on("error", () => look("error")); // at the end the server is gone
		socket.on("close", () => next("close"));
	},
	emit: (next) => emitter.emit("event", next),
	once(next) {
		const one = new events.EventEmitter();
		events.once(one, "event").then(() => next("once"));
		setImmediate(() => one.emit("event"));
	},
	message() {
		port2.postMessage(0);
	},
	resource(next) {
		const resource = new AsyncResource("OWN");
		resources.push(resource);
		setImmediate(() => resource.runInAsyncScope(next, undefined, "resource"));
	},
	again(next) {
		if (resources.length > 0) resources[random(resources.length)].runInAsyncScope(look, undefined, "an older resource");
		next("beside an older resource");
	},
	bind: (next) => setImmediate(AsyncResource.bind(() => next("bound"))),
	pool(next) {
		pooled.push(next);
		if (pooled.length > 3) pooled.splice(random(pooled.length), 1)[0]("from a queue");
	},
	run: (next) => enter(fresh(), () => next("run")),
	throws(next) {
		try {
			enter(fresh(), () => {
				look("before it throws");
				throw new Error("as expected");
			});
		} catch {
			next("after it threw");
		}
	},
	stay(next) {
		const store = fresh();
		theirs.enterWith(store);
		own.enterWith(store);
		next("entered");
	},
};
const names = Object.keys(ways);

function enter(store, callback) {
	return theirs.run(store, () => own.run(store, callback));
}

function grow() {
	for (let branches = 1 + random(2); branches > 0 && left > 0; branches--) {
		left--;
		const name = names[random(names.length)];
		ways[name]((where) => {
			look(where);
			grow();
		});
		look(`behind ${name}`);
	}
}

/* Trees die out: a new one each time until there were enough operations. */
function plant() {
	if (left > 0) {
		enter(fresh(), grow);
		setTimeout(plant, 1);
		return;
	}
	server.close();
	port2.close();
}

server.listen(0, "127.0.0.1", plant);
process.on("exit", () => {
	console.log(`wrong: ${wrong}`);
	console.error(`${looks} looks, ${inContext} in a context`);
	process.exitCode = wrong > 0 || inContext < looks / 10 ? 1 : 0;
});

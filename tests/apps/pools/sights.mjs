/*
 * What a program can see of these packages, and of what it hands to them: node sights.mjs FOLDER FOLDER-ESM
 * It says the same wherever it runs.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

const [folder, newer] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const requireNewer = createRequire(`${newer}/package.json`);
const own = new AsyncLocalStorage();

function show(name, ...values) {
	console.log(name, ...values.map((value) => (typeof value === "string" ? value : inspect(value, { depth: 1 }))));
}

const sortedKeys = (value) => Reflect.ownKeys(value).map(String).sort().join(" ");

/* What packages export: kinds, names, lengths, members, and that it is one thing wherever it is asked for. */
for (const name of ["async", "async-lock", "bluebird", "bottleneck", "dataloader", "eventemitter3", "fastq", "generic-pool",
	"inflight", "lru-memoizer", "p-limit", "p-queue", "promise", "promise-queue", "q", "queue", "rsvp", "semaphore", "when", "ws"]) {
	const filename = require.resolve(name);
	const keysBefore = Object.keys(require.cache).includes(filename);
	const loaded = require(name);
	const module = require.cache[filename];
	const imported = await import(pathToFileURL(filename));
	show(name, typeof loaded, String(loaded.name), String(loaded.length), sortedKeys(loaded));
	show(" one thing", require(name) === loaded, module.exports === loaded, imported.default === (loaded.__esModule ? imported.default : loaded));
	show(" module", keysBefore, module.loaded, sortedKeys(module), Object.keys(require.cache).includes(filename));
	show(" loaded", Object.getOwnPropertyDescriptor(module, "loaded"));
	show(" self", loaded.default === loaded, loaded.EventEmitter === loaded);
	if (loaded.prototype) {
		show(" prototype", sortedKeys(loaded.prototype), loaded.prototype.constructor === loaded);
		show(" listed", Object.keys(loaded.prototype).join(" "));
		for (const key of Object.getOwnPropertyNames(loaded.prototype)) {
			const { value } = Object.getOwnPropertyDescriptor(loaded.prototype, key);
			if (typeof value === "function") show(`  ${key}`, value.name, value.length);
		}
	}
}

/* What jobs get, what they are, and what comes back; and the program's own contexts, which follow the package's ways. */
function job(...args) {
	show(" job", this, args.length, own.getStore(), new.target === undefined);
	return "result";
}
const named = async function named(first, second) {
	return [first, second, own.getStore()];
};

const pLimit = require("p-limit");
const limit = pLimit(1);
show("limit", limit.name, limit.length, sortedKeys(limit), limit.activeCount, limit.pendingCount);
show(
	"limited",
	await own.run("first", () => Promise.all([limit(job, 1, job), own.run("second", () => limit(named, 2, job))])),
);
try {
	show("refused", pLimit(0));
} catch (error) {
	show("refused", error.message);
}
show("rejected", await limit(() => Promise.reject(new Error("wanted"))).catch((error) => error.message));
show("no function", await limit(7).catch((error) => error.message));

for (const Queue of [require("p-queue").default, (await import(pathToFileURL(requireNewer.resolve("p-queue")))).default]) {
	const queue = new Queue({ concurrency: 1 });
	show("p-queue", Queue.name, Queue.length, sortedKeys(Queue.prototype), queue instanceof Queue, queue.add.name, queue.add.length);
	show("p-queue did", await own.run("first", () => Promise.all([queue.add(job), own.run("second", () => queue.add(() => named(3)))])));
	show("p-queue size", queue.size, queue.pending, Object.getPrototypeOf(Queue).name);
}

const EventEmitter = require("eventemitter3");
class Mine extends EventEmitter {
	constructor(value) {
		super();
		this.value = value;
	}
}
const mine = new Mine(5);
show("emitter", mine, mine instanceof EventEmitter, mine.constructor === Mine, new EventEmitter() instanceof EventEmitter);
show("emitter's", new EventEmitter().constructor === EventEmitter, Object.getPrototypeOf(Mine) === EventEmitter);
show("emits", mine.on("event", job), mine.emit("event", 1, 2), mine.listeners("event")[0] === job);

const Bottleneck = require("bottleneck");
const limiter = new Bottleneck({ maxConcurrent: 1 });
show("bottleneck", await limiter.schedule(named, 4, 5), await limiter.schedule({ id: "an id" }, named, 6), limiter.wrap(named).length);
show("submitted", await new Promise((resolve) => limiter.submit((value, done) => done(null, value), 8, (...all) => resolve(all))));

const async = require("async");
const tasks = async.queue(function (task, done) {
	show(" worker", this === undefined || this === globalThis, task, done.length);
	done(null, task + 1);
}, 1);
show("async", sortedKeys(tasks), Object.keys(tasks._tasks).join(" "), tasks.push.length, tasks.length());
show("async did", await tasks.pushAsync(1), await new Promise((resolve) => tasks.push(2, (...all) => resolve(all))));
tasks.pause();
tasks.push([7, 8]);
show("async waits", [...tasks], tasks.length(), tasks.remove(({ data }) => data === 7), tasks.length());

const fastq = require("fastq");
const context = { name: "context" };
const fast = fastq(context, function (task, done) {
	show(" worker", this === context, task, done.length);
	done(null, task + 1);
}, 1);
show("fastq", sortedKeys(fast), fast.push.name, fast.push.length, fast.concurrency);
show("fastq did", await new Promise((resolve) => fast.push(1, (...all) => resolve(all))));
fast.pause();
fast.push(2);
fast.unshift(1);
show("fastq waits", fast.getQueue(), fast.length());
fast.kill();
show("fastq promise", await fastq.promise(named, 1).push(9), fastq.promise.length, fastq.promise.name);
try {
	fastq(job, 0);
} catch (error) {
	show("refused", error.message);
}

const lock = new (require("async-lock"))();
show("lock", await lock.acquire("key", () => "a"), await new Promise((resolve) => lock.acquire("key", (done) => done(null, "b"), (...all) => resolve(all))));
show("promise-queue", await new (require("promise-queue"))(1).add(() => "c"));
const semaphore = require("semaphore")(1);
show("semaphore", sortedKeys(semaphore), semaphore.take.length, await new Promise((resolve) => semaphore.take(resolve)).then((leave) => leave === semaphore.leave));
const first = require("inflight")("key", job);
show("inflight", typeof first, require("inflight")("key", job), first(1, 2));

const Loader = require("dataloader");
const loader = new Loader(async function (keys) {
	show(" batch", keys, this === loader, own.getStore());
	return keys.map((key) => key * 2);
});
show("loader", sortedKeys(loader), await own.run("first", () => Promise.all([loader.load(1), loader.load(2), loader.load(1)])));

const Q = require("q");
show("q", Q.nextTick.length, Q.nextTick.name, sortedKeys(Q.nextTick), await Q(1).then((value) => value + 1).fin(() => 5));
show("q's steps", await Q.async(function* (value) {
	return [yield Q.delay(value, 1), yield Q.fcall(named, 3)];
})(7));
for (const one of [require("promise"), require("rsvp").Promise, require("when").Promise]) {
	show("then", one.prototype.then.length, one.prototype.then.name, await one.resolve(1).then((value) => value + 1, 7).then(undefined));
}

const Bluebird = require("bluebird");
show("bluebird", await Bluebird.resolve(1).then(function (value) {
	return [this, value];
}));
show("bluebird reflects", (await Bluebird.reject(new Error("wanted")).reflect()).isRejected());
show("bluebird filters", await Bluebird.reject(new TypeError("wanted")).catch(RangeError, () => 1).catch(TypeError, () => 2));
show("bluebird binds", await Bluebird.bind(context).then(function () {
	return this.name;
}));
show("bluebird maps", await Bluebird.map([1, 2], (x, i, length) => [x, i, length]), await Bluebird.reduce([1, 2], (a, b) => a + b, 0));
show("bluebird steps", await Bluebird.coroutine(function* (...args) {
	try {
		yield Bluebird.reject(new Error("wanted"));
	} catch (error) {
		return [yield Bluebird.delay(1, "later"), error.message, args, this];
	}
})(1, 2));
try {
	Bluebird.coroutine(5);
} catch (error) {
	show("refused", error.message.split("\n")[0]);
}

/*
 * The side of libtraceshim.so that runs inside of JavaScript, where alone it is known which request the program works for.
 *
 * Node loads this file before the program's own (hooks/node.c puts it into NODE_OPTIONS), in the main thread and in workers.
 * It keeps one AsyncLocalStorage whose value is the request at hand, tells the native side whose the log bytes are that are
 * about to be written, and asks it for the head lines of outgoing calls. Everything that has to do with ids, records and
 * configuration is native. See DESIGN.md, 'Node'.
 *
 * Rules. It fails open: whatever goes wrong in here, the program goes on as if this file were not there. Nothing that it
 * does can be seen by the program without looking for it: requests are attached to objects by private fields, wrappers keep
 * names and lengths. A module of Node's that the program has not loaded is not loaded by us until the first connection.
 *
 * What may be believed. AsyncLocalStorage follows the flow of promises, timers and operations, and that is right as long as a
 * program hands work over through these. It is wrong where a program keeps callbacks in a queue of its own and runs the next
 * one's from the end of the last one's. So a request's context counts
 * - while its response is not ended, unless this program was seen to end one request's response in another one's context;
 * - afterwards, if none other waited when it came and none has come since, and in what its response tells its listeners;
 * - always where the program said so itself (AsyncLocalStorage.bind or .snapshot: Next.js' after() does).
 * Sockets that the program opens belong to no request: they are pooled, and their callbacks are anybody's.
 */
"use strict";

/* Ended requests whose ids are kept for lines that are still to come. */
const KEPT = 16;
/* MANAGED_SLOTS, shim/managed.h. */
const SLOTS = 8192;

/* Words shared with the native side: enum managed_word, shim/managed.h. */
const SLOT = 0;
const QUEUES = 1;
const CONSUMED = 2;
const REQUESTS = 3;
const SILENT = 0;
const NOBODY = -1;

/* How a worker is told which of its streams its parent reads itself: a bit per descriptor. */
const READ_BY_PARENT = "traceshim.readByParent";

const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;

/* Take the invitation out of the environment: the program and its children see what the user set. */
function restoreEnvironment() {
	const rest = /^--require "(?:[^"\\]|\\.)*traceshim\.cjs"( ?)([^]*)$/.exec(process.env.NODE_OPTIONS);
	if (rest === null) {
		return;
	}
	if (rest[1] === "") {
		delete process.env.NODE_OPTIONS;
	} else {
		process.env.NODE_OPTIONS = rest[2];
	}
}

/* Nor does it see what was loaded before it. The list itself is being walked: it gets another. */
function hideCompanion() {
	delete require.cache[__filename];
	const preloaded = process._preload_modules;
	if (Array.isArray(preloaded)) {
		const { enumerable } = getOwnPropertyDescriptor(process, "_preload_modules");
		const value = preloaded.filter((name) => !name.endsWith("/traceshim.cjs"));
		defineProperty(process, "_preload_modules", { value, enumerable, writable: false, configurable: true });
	}
}

function openNative() {
	const addon = { exports: {} };
	process.dlopen(addon, __dirname + "/libtraceshim.so");
	return addon.exports.call === undefined ? undefined : addon.exports;
}

/* Is an inherited property listed by for...in? Who copies a stream's methods (Next.js does) has to find those that we replace. */
function isListed(object, name) {
	for (let holder = object; holder !== null; holder = getPrototypeOf(holder)) {
		const found = getOwnPropertyDescriptor(holder, name);
		if (found !== undefined) {
			return found.enumerable;
		}
	}
	return false;
}

/* Replace a function, keeping all that can be seen of it but its identity. An object's own is not among its keys then. */
function replace(object, name, make) {
	const before = getOwnPropertyDescriptor(object, name);
	const original = object[name];
	if (typeof original !== "function") {
		return;
	}
	/* What is inherited is looked up at each call: the program may patch it further up, at any time. */
	const made = make(before !== undefined ? original : function () {
		return apply(getPrototypeOf(object)[name], this, arguments);
	});
	/* Name and length, and what others hang on a function: util.promisify looks for symbols of its own. */
	for (const key of ownKeys(original)) {
		if (key !== "prototype" && key !== "arguments" && key !== "caller") {
			defineProperty(made, key, getOwnPropertyDescriptor(original, key));
		}
	}
	defineProperty(object, name, {
		value: made,
		writable: true,
		configurable: true,
		enumerable: before === undefined ? ownKeys(object).includes("constructor") && isListed(object, name) : before.enumerable,
	});
}

/* A request that this process serves: the value of the storage. */
class Request {
	/*
	 * Before Node 24 the storage's value hangs on promises and timers by a symbol, and whoever prints one prints it as well. The
	 * head holds cookies and passwords.
	 */
	#head;

	constructor(head) {
		this.slot = SILENT; // SILENT: not opened yet
		this.serial = 0; // of the slot, when it was opened: it may be another request's by now
		this.#head = head; // name, value, name, value, ... until the slot is opened
		this.answered = false;
		this.closed = false;
		this.number = 0; // counts requests
		this.alone = false; // no other request waited when it came
		this.bindings = 0; // explicit ones, made before the slot was opened
		this.of = undefined;
		this.certain = undefined;
	}

	get head() {
		return this.#head;
	}

	set head(head) {
		this.#head = head;
	}
}

/* Something attached to an object of Node's or the program's, which nobody else can see. */
class Attach extends (
	class {
		constructor(object) {
			return object;
		}
	}
) {
	#value;
	static get(object) {
		return #value in object ? object.#value : undefined;
	}
	static set(object, value) {
		new Attach(object).#value = value;
	}
	static has(object) {
		return #value in object;
	}
	static change(object, value) {
		object.#value = value;
	}
}

function attach(object, value) {
	if (Attach.has(object)) {
		Attach.change(object, value);
	} else {
		Attach.set(object, value);
	}
}

/* To be called before the program can start a worker of this one. The module is not worth loading in the main thread. */
function takeReadByParent() {
	if (process.abort.disabled !== true) {
		return 0;
	}
	const { getEnvironmentData, setEnvironmentData } = require("worker_threads");
	const bits = getEnvironmentData(READ_BY_PARENT);
	setEnvironmentData(READ_BY_PARENT, undefined);
	return bits === undefined ? 0 : bits;
}

function start(native) {
	const { AsyncLocalStorage } = require("async_hooks");
	const channels = require("diagnostics_channel");
	const words = native.words;
	const readByParent = takeReadByParent();
	const storage = new AsyncLocalStorage();
	const wanted = new Set(native.wanted.split("\n").slice(0, -1));
	const lengths = [];
	for (const name of wanted) {
		lengths[name.length] = true;
	}

	/* ---- requests ---- */

	let unanswered = 0;
	let handsOver = false;
	let runsAhead = false;
	let handling;
	let telling;
	const pinned = new FinalizationRegistry(unbind);

	function begin(head) {
		const request = new Request(head);
		request.number = words[REQUESTS]++;
		request.alone = unanswered === 0;
		unanswered++;
		if (handsOver && !runsAhead) {
			/* Its handler's own first steps are certain, unless they complete a batch, and run jobs that were there before. */
			handling = request;
			process.nextTick(() => {
				handling = undefined;
			});
		}
		return request;
	}

	/* The program ends the response of `request` now. */
	function answer(request) {
		request.answered = true;
		unanswered--;
		const current = storage.getStore();
		if (current !== undefined && current !== request && current.of !== request) {
			handsOver = true;
			runsAhead ||= current.number > request.number;
		}
	}

	/* Nothing more comes from its connection. */
	function close(request) {
		if (request.closed) {
			return;
		}
		request.closed = true;
		if (!request.answered) {
			request.answered = true;
			unanswered--;
		}
		if (request.slot > 0) {
			keep(request.slot);
		}
	}

	/*
	 * A slot is open while it is pinned: by its request until that is closed, then for a while (`kept`), and by each explicit
	 * binding. All of this is by number, so that the slot of a request may stay while its objects are gone: requests that were
	 * held for long would be copied by every scavenge meanwhile.
	 */
	const pins = new Uint32Array(SLOTS);
	const serials = new Int32Array(SLOTS);
	const kept = new Uint16Array(KEPT);
	let nextKept = 0;

	function unpin(slot) {
		if (--pins[slot] === 0) {
			serials[slot]++;
			native.close(slot);
		}
	}

	/* Its request's own pin becomes that of `kept`. */
	function keep(slot) {
		const oldest = kept[nextKept];
		kept[nextKept] = slot;
		nextKept = (nextKept + 1) % KEPT;
		if (oldest !== 0) {
			unpin(oldest);
		}
	}

	function opened(request, slot) {
		request.slot = slot;
		if (slot > 0) {
			request.serial = serials[slot];
			pins[slot] = 1 + request.bindings;
			if (request.closed) {
				keep(slot);
			}
		}
	}

	/* What the program binds to a request by its own word stays that request's, however late it runs. */
	function explicit(request) {
		const binding = new Request(undefined);
		binding.of = request;
		if (request.slot === SILENT) {
			request.bindings++;
		} else if (slotOf(request) > 0) {
			pins[request.slot]++;
		}
		pinned.register(binding, request);
		return binding;
	}

	function unbind(request) {
		if (request.slot === SILENT) {
			request.bindings--;
		} else if (slotOf(request) > 0) {
			unpin(request.slot);
		}
	}

	/* The request at hand, or undefined: none, or not certain. */
	function known() {
		const request = storage.getStore();
		if (request === undefined) {
			return undefined;
		}
		if (request.of !== undefined) {
			return request.of;
		}
		if (handsOver) {
			return request === handling || (unanswered === 1 && !request.answered) ? request : undefined;
		}
		return !request.answered || request === telling || isAlone(request) ? request : undefined;
	}

	/* Is there no other request whose work this could be? */
	function isAlone(request) {
		return request.alone && request.number === (words[REQUESTS] - 1 | 0);
	}

	/* An OpenTelemetry SDK beside us has made up its mind about the trace: it is ours, too. Keys are those of its API, 1.x. */
	const SDK = Symbol.for("opentelemetry.js.api.1");
	const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");

	function traceOfSdk() {
		const api = globalThis[SDK];
		const context = api && api.context && api.context.active();
		const span = context && context.getValue(SPAN);
		if (!span) {
			return undefined;
		}
		const { traceId, spanId, traceFlags } = span.spanContext();
		return /[1-9a-f]/.test(traceId || "") ? "00-" + traceId + "-" + spanId + (traceFlags & 1 ? "-01" : "-00") : undefined;
	}

	function openSlot(request) {
		const head = request.head;
		request.head = undefined;
		try {
			const trace = traceOfSdk();
			if (trace !== undefined) {
				opened(request, native.open("traceparent:" + trace + "\n" + fieldsOf(head, "traceparent")));
				return;
			}
		} catch {
			/* It is not what we took it for. */
		}
		opened(request, native.open(fieldsOf(head, "")));
	}

	/* The fields of a head that mean something to the native side, but for one. */
	function fieldsOf(head, except) {
		let fields = "";
		if (head !== undefined) {
			for (let i = 0; i + 1 < head.length; i += 2) {
				if (lengths[head[i].length]) {
					const name = head[i].toLowerCase();
					if (wanted.has(name) && name !== except) {
						fields += name + ":" + head[i + 1] + "\n";
					}
				}
			}
		}
		return fields;
	}

	/* The request as a slot for the native side. */
	function slotOf(request) {
		if (request.slot === SILENT) {
			openSlot(request);
		}
		return request.slot > 0 && serials[request.slot] !== request.serial ? NOBODY : request.slot;
	}

	/* The same of the request at hand. */
	function slotNow() {
		const request = known();
		if (request === undefined) {
			return NOBODY;
		}
		return slotOf(request);
	}

	/* Call a function in the name of the request at hand, for native code that asks whose it is. */
	function named(original, self, args) {
		const before = words[SLOT];
		words[SLOT] = slotNow();
		try {
			return apply(original, self, args);
		} finally {
			words[SLOT] = before;
		}
	}

	/* ---- events run in the context of what they are about ---- */

	/* Call a function in a request's context, or in none (null). */
	function runIn(request, original, self, args) {
		const store = request === null ? undefined : request;
		return storage.getStore() === store ?
			apply(original, self, args) :
			storage.run(store, apply, original, self, args);
	}

	function bindEmit(original) {
		return function emit(type) {
			/* Most events have no listener, and then there is nothing to name; but an error has a crash, which is named. */
			const listeners = this._events;
			if (type !== "error" && (listeners === undefined || listeners[type] === undefined)) {
				return apply(original, this, arguments);
			}
			const bound = Attach.get(this);
			/* As runIn, in place: V8 forwards `arguments` without making an object of them only where they do not escape. */
			if (bound === undefined || storage.getStore() === (bound === null ? undefined : bound)) {
				return apply(original, this, arguments);
			}
			return runIn(bound, original, this, arguments);
		};
	}

	/* For the few objects whose class is not worth a look at each of its events. */
	function bindOwnEmit(object, request) {
		attach(object, request);
		replace(object, "emit", bindEmit);
	}

	/* The same for what a request is answered on. A listener of ours could be seen there, and removed. */
	function followOwnEmit(object, request) {
		attach(object, request);
		replace(object, "emit", (original) => {
			const bound = bindEmit(original);
			return function emit(type) {
				try {
					return apply(bound, this, arguments);
				} finally {
					if (type === "close") {
						close(request);
					}
				}
			};
		});
	}

	/* ---- log lines ---- */

	function endsLine(chunk) {
		const last = chunk.length - 1;
		return last < 0 || (typeof chunk === "string" ? chunk.charCodeAt(last) : chunk[last]) === 10;
	}

	function asBuffer(chunk, encoding) {
		if (typeof chunk === "string") {
			return Buffer.from(chunk, typeof encoding === "string" ? encoding : undefined);
		}
		return chunk instanceof Uint8Array ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : undefined;
	}

	/* The records of these whole lines, or undefined. */
	function stamp(stream, lines) {
		const slot = slotNow();
		const parts = [];
		for (let at = 0; at < lines.length; at += words[CONSUMED]) {
			const part = native.stamp(stream, slot, lines, at);
			if (part === undefined) {
				return undefined;
			}
			parts.push(part);
		}
		return parts.length === 1 ? parts[0] : Buffer.concat(parts);
	}

	/*
	 * Was this printed as one? What console prints is, and a line with what hangs on it: a stack, an object's members. Other lines
	 * that come together have been collected, from several requests perhaps.
	 */
	function isOneEvent(chunk, handler) {
		const text = typeof chunk === "string";
		const newline = text ? "\n" : 10;
		const last = chunk.length - 1;
		let at = chunk.indexOf(newline);
		if (at < 0 || at === last) {
			return true;
		}
		/* Each Console has a handler of its own, made by the same code. */
		if (typeof handler === "function" && String(handler) === String(console._stdoutErrorHandler)) {
			return true;
		}
		for (; at >= 0 && at < last; at = chunk.indexOf(newline, at + 1)) {
			if (!" \t\r\n}])".includes(text ? chunk[at + 1] : String.fromCharCode(chunk[at + 1]))) {
				return false;
			}
		}
		return true;
	}

	/*
	 * A stream that feeds a log by pipe() keeps chunks while there is no room, and writes them in the context of whoever made room:
	 * that says nothing about whose they are. A PassThrough hands on the very chunks that it was given, so what it made of text
	 * is marked there; all others come from nobody (a buffer is the program's, which may write it for several requests). pipe()
	 * writes a chunk and nothing else, and leaves a listener behind.
	 */
	function byOwner(original) {
		return function write(chunk) {
			const listeners = this._events;
			if (arguments.length === 1 && listeners !== undefined && listeners.unpipe !== undefined) {
				const owner = chunk instanceof Uint8Array ? Attach.get(chunk) : undefined;
				return runIn(owner instanceof Request ? owner : null, original, this, arguments);
			}
			return apply(original, this, arguments);
		};
	}

	/* A context for what was a request's when it was looked at, whatever has happened since. */
	function certainly(request) {
		const certain = new Request(undefined);
		certain.of = request;
		return certain;
	}

	/* Streams that write to a log. */
	const logs = new WeakSet();

	function watchPassThrough(PassThrough, FileStream) {
		replace(PassThrough.prototype, "write", (original) => function write(chunk, encoding, callback) {
			const { pipes } = this._readableState; // one or several in older copies
			const { objectMode, decodeStrings, defaultEncoding } = this._writableState;
			const named = typeof encoding === "string" ? encoding : defaultEncoding;
			const feeds = pipes && [].concat(pipes).some((to) => logs.has(to) || to instanceof FileStream);
			const owner = feeds && typeof chunk === "string" && Buffer.isEncoding(named) ? known() : undefined;
			if (owner === undefined || objectMode || decodeStrings === false) {
				return apply(original, this, arguments);
			}
			const bytes = Buffer.from(chunk, named);
			attach(bytes, (owner.certain ??= certainly(owner)));
			return apply(original, this, [bytes, typeof encoding === "function" ? encoding : callback]);
		});
	}

	/*
	 * A stream that writes to a log. What it can write at once is named while it does so, and rewritten on its way out. What has
	 * to wait is made into records at once, since it will be written together with what others wrote; such records pass
	 * unchanged, because the loop that writes them names nobody. An unfinished line goes through as it is.
	 */
	function watchStream(stream, fd) {
		const kind = native.isLog(fd);
		if (kind < 0) {
			return;
		}
		/* A worker's stream hands what is written to the main thread, which writes it later, or reads it itself. */
		const direct = typeof stream.fd === "number";
		if (!direct && (readByParent & (1 << fd)) !== 0) {
			return;
		}
		let inLine = false;

		function waiting(original, self, one, chunk, encoding, callback) {
			const plain = !one || inLine || stream.writableEnded || stream.destroyed || (!direct && known() === undefined);
			const bytes = plain ? undefined : asBuffer(chunk, encoding || stream._writableState.defaultEncoding);
			const whole = bytes === undefined ? 0 : bytes.lastIndexOf(10) + 1;
			const records = whole > 0 ? stamp(kind, bytes.subarray(0, whole)) : undefined;
			if (records === undefined || self !== stream) {
				inLine = !endsLine(chunk);
				return nameless(original, self, [chunk, encoding, callback]);
			}
			if (whole === bytes.length) {
				return nameless(original, self, [records, callback]);
			}
			inLine = true;
			nameless(original, self, [records]);
			return nameless(original, self, [bytes.subarray(whole), callback]);
		}

		replace(stream, "write", (original) => function write(chunk, encoding, callback) {
			const text = typeof chunk === "string";
			if (!text && !(chunk instanceof Uint8Array)) {
				return apply(original, this, arguments);
			}
			const one = fd === 2 || isOneEvent(chunk, encoding); // nobody collects what goes to stderr
			if (!direct || stream.writableLength !== 0 || stream.writableCorked !== 0) {
				if (typeof encoding === "function") {
					callback = encoding;
					encoding = undefined;
				}
				return waiting(original, this, one, chunk, encoding, callback);
			}
			inLine = !endsLine(chunk);
			const before = words[SLOT];
			words[SLOT] = one ? slotNow() : NOBODY;
			words[QUEUES] = 1;
			try {
				return apply(original, this, arguments);
			} finally {
				words[SLOT] = before;
				words[QUEUES] = 0;
			}
		});
		logs.add(stream);
		replace(stream, "write", byOwner);
	}

	/* Finished records, and bytes of nobody: whatever request is at hand is not theirs. */
	function nameless(original, self, args) {
		const before = words[SLOT];
		words[SLOT] = NOBODY;
		try {
			return apply(original, self, args);
		} finally {
			words[SLOT] = before;
		}
	}

	/* process.stdout and process.stderr are made when they are first looked at. */
	function watchStandardStream(name, fd) {
		const descriptor = getOwnPropertyDescriptor(process, name);
		if (descriptor === undefined || descriptor.get === undefined || !descriptor.configurable) {
			return;
		}
		let watched;
		function get() {
			const stream = apply(descriptor.get, process, []);
			if (stream !== watched && stream) {
				watched = stream;
				try {
					watchStream(stream, fd);
				} catch {
					/* The stream is as it was. */
				}
			}
			return stream;
		}
		defineProperty(get, "name", { value: descriptor.get.name, configurable: true });
		defineProperty(process, name, { ...descriptor, get });
	}

	/* Descriptors on which sonic-boom writes what it collected: records already. */
	const collected = new Set();

	/* Lines that are written at once have been collected: by whom, nobody says. (console's are not written by fs.) */
	function severalLines(chunk, from, to) {
		const text = typeof chunk === "string";
		if (!text && !(chunk instanceof Uint8Array)) {
			return false;
		}
		const first = chunk.indexOf(text ? "\n" : 10, from);
		return first >= 0 && first < (to === undefined ? chunk.length : to) - 1;
	}

	function watchFiles() {
		const fs = require("fs");
		const direct = (ofSeveral) => (original) => function (fd) {
			if (words[QUEUES] === 1) {
				return apply(original, this, arguments); // from within a stream's write, which has named it
			}
			return collected.has(fd) || ofSeveral.apply(undefined, arguments) ?
				nameless(original, this, arguments) :
				named(original, this, arguments);
		};
		replace(fs, "writeSync", direct((fd, chunk, offset, length) => {
			const part = typeof offset === "number" && typeof length === "number" && typeof chunk !== "string";
			return part ? severalLines(chunk, offset, offset + length) : severalLines(chunk);
		}));
		replace(fs, "writevSync", direct((fd, chunks) => Array.isArray(chunks) &&
			chunks.some((chunk, i) => severalLines(chunk) || (i < chunks.length - 1 && endsLine(chunk) && chunk.length > 0))));
		for (const name of ["writeFileSync", "appendFileSync"]) {
			replace(fs, name, direct((path, data) => severalLines(data)));
		}
		replace(fs, "write", (original) => function write(fd) {
			return collected.has(fd) ? apply(original, this, arguments) : writeLater(original, this, arguments);
		});
	}

	/* Within the callback of a write to a log: what is written there has been waiting for it. */
	let written = false;
	/* Descriptors on which fs.write was seen to write pieces of lines: any of its threads may have one that waits for the rest. */
	const pieces = new Set();
	/* Those that took the last write in part: the rest of it comes next. */
	const rests = new Set();

	/* The bytes that this call of fs.write is about, or undefined where Node alone should say what it means. */
	function bytesOfWrite(args) {
		const [, chunk, second, third, fourth] = args;
		const count = args.length - 1;
		if (typeof chunk === "string") {
			const plain = count < 5 && (count < 3 || second === null) && (count < 4 || third === null || Buffer.isEncoding(third));
			return plain ? Buffer.from(chunk, count < 4 || third === null ? "utf8" : third) : undefined;
		}
		if (!(chunk instanceof Uint8Array) || count > 5 || (count === 5 && fourth !== null)) {
			return undefined;
		}
		const from = count < 3 || second === null ? 0 : second;
		const len = count < 4 || third === null ? chunk.length - from : third;
		if (!Number.isInteger(from) || !Number.isInteger(len) || from < 0 || len < 0 || from + len > chunk.length) {
			return undefined;
		}
		return Buffer.from(chunk.buffer, chunk.byteOffset + from, len);
	}

	/* The record of what fs.write is about to write, if that is one whole line and certainly the request's at hand. */
	function recordOfWrite(kind, fd, bytes) {
		if (bytes.length === 0 || written || rests.has(fd)) {
			return undefined;
		}
		if (!endsLine(bytes)) {
			pieces.add(fd);
		}
		return pieces.has(fd) || severalLines(bytes) || known() === undefined ? undefined : stamp(kind, bytes);
	}

	/*
	 * fs.write happens on another thread: a whole line for a log becomes a record first, and the caller gets its own count back.
	 * When the native side could not write all of it, it keeps the rest, and wants the line's last byte again.
	 */
	function writeLater(original, self, args) {
		const fd = args[0];
		const callback = args[args.length - 1];
		const kind = typeof callback === "function" && Number.isInteger(fd) ? native.isLog(fd) : -1;
		if (kind < 0) {
			return apply(original, self, args);
		}
		const bytes = bytesOfWrite(args);
		const record = bytes === undefined ? undefined : recordOfWrite(kind, fd, bytes);
		const sent = record === undefined ? bytes : record;
		const back = function (error, count) {
			const before = written;
			written = true;
			try {
				if (!error && sent !== undefined && count < sent.length) {
					rests.add(fd);
				} else if (!error) {
					rests.delete(fd);
				}
				if (record === undefined || error) {
					return apply(callback, this, record === undefined ? arguments : [error, count, args[1]]);
				}
				return apply(callback, this, [error, count < record.length ? Math.min(count, bytes.length - 1) : bytes.length, args[1]]);
			} finally {
				written = before;
			}
		};
		return apply(original, self, record === undefined ?
			[...Array.prototype.slice.call(args, 0, -1), back] :
			[fd, record, 0, record.length, null, back]);
	}

	/*
	 * fs.createWriteStream on a log file. The stream keeps the program's chunk, so that its length and its wish for a rest are
	 * what they would be; the record hangs on it, and takes its place when it is written.
	 */
	function watchFileStreams(WriteStream) {
		const inLine = new WeakSet();
		const recordOf = (chunk) => {
			const record = chunk instanceof Uint8Array ? Attach.get(chunk) : undefined;
			return record instanceof Uint8Array ? record : undefined; // a Request where it came through a PassThrough
		};

		function prepareChunk(stream, chunk, encoding) {
			const usable = typeof stream.fd === "number" && stream.pos === undefined && !stream.writableEnded && !stream.destroyed;
			const kind = usable ? native.isLog(stream.fd) : -1;
			const bytes = kind < 0 ? undefined : asBuffer(chunk, encoding || stream._writableState.defaultEncoding);
			if (bytes === undefined || bytes.length === 0) {
				return undefined;
			}
			const rest = inLine.has(stream);
			if (!endsLine(bytes)) {
				inLine.add(stream);
				return undefined;
			}
			inLine.delete(stream);
			const record = rest || severalLines(bytes) || known() === undefined ? undefined : stamp(kind, bytes);
			if (record !== undefined) {
				attach(bytes, record);
			}
			return record === undefined ? undefined : bytes;
		}

		replace(WriteStream.prototype, "write", (original) => function write(chunk, encoding, callback) {
			const bytes = prepareChunk(this, chunk, typeof encoding === "string" ? encoding : undefined);
			if (bytes === undefined) {
				return apply(original, this, arguments);
			}
			return apply(original, this, [bytes, typeof encoding === "function" ? encoding : callback]);
		});
		replace(WriteStream.prototype, "write", byOwner);
		replace(WriteStream.prototype, "_write", (original) => function _write(chunk, encoding, callback) {
			const record = recordOf(chunk);
			if (record === undefined) {
				return apply(original, this, arguments);
			}
			return apply(original, this, [record, encoding, (error) => {
				this.bytesWritten -= error ? 0 : record.length - chunk.length;
				callback(error);
			}]);
		});
		replace(WriteStream.prototype, "_writev", (original) => function _writev(chunks, callback) {
			let more = 0;
			const written = chunks.map((entry) => {
				const record = recordOf(entry.chunk);
				more += record === undefined ? 0 : record.length - entry.chunk.length;
				return record === undefined ? entry : { ...entry, chunk: record };
			});
			return apply(original, this, [written, (error) => {
				this.bytesWritten -= error ? 0 : more;
				callback(error);
			}]);
		});
	}

	/*
	 * sonic-boom (under pino) collects lines of many requests: each becomes a record when it comes in, and what it writes is in
	 * nobody's name. Lines that come before its file is open are nobody's, too. Its instances have a write of their own, which
	 * their constructor gives them; it had been on the prototype once.
	 */
	function watchSonicBoom(SonicBoom) {
		const proto = SonicBoom.prototype;
		const make = (original) => function write(data) {
			const fd = this.fd;
			const text = typeof data === "string";
			const kind = fd < 0 ? -1 : native.isLog(fd);
			if (fd < 0) {
				if (!Attach.has(this)) {
					attach(this, null);
					for (const name of ["_actualWrite", "flushSync"]) {
						replace(this, name, (actual) => function () {
							collected.add(this.fd);
							return apply(actual, this, arguments);
						});
					}
				}
				return apply(original, this, arguments);
			}
			if (kind < 0) {
				return apply(original, this, arguments);
			}
			collected.add(fd);
			const records = (text || data instanceof Uint8Array) && endsLine(data) ? stamp(kind, asBuffer(data)) : undefined;
			return apply(original, this, [records === undefined ? data : text ? records.toString() : records]);
		};
		if (typeof proto.write === "function") {
			replace(proto, "write", make);
			return;
		}
		defineProperty(proto, "write", {
			configurable: true,
			get: () => undefined,
			set(value) {
				defineProperty(this, "write", { value, writable: true, enumerable: true, configurable: true });
				replace(this, "write", make);
			},
		});
	}

	/* thread-stream (pino's transports) hands lines to a worker: objects get their ids here, text is left for the other side. */
	function watchThreadStream(ThreadStream) {
		replace(ThreadStream.prototype, "write", (original) => function write(data) {
			if (typeof data !== "string" || data[0] !== "{" || !data.endsWith("}\n") || known() === undefined) {
				return apply(original, this, arguments);
			}
			const records = stamp(0, Buffer.from(data));
			return apply(original, this, [records === undefined ? data : records.toString()]);
		});
	}

	/* A crash is told by native code, after the last JavaScript has run. Where the program handles it, it goes on instead. */
	function nameCrash() {
		if (process.listenerCount("uncaughtException") === 0 && !process.hasUncaughtExceptionCaptureCallback()) {
			words[SLOT] = slotNow();
		}
	}

	/* ---- outgoing calls ---- */

	function callFields(fields, host) {
		return native.call(Math.max(slotNow(), SILENT), fields, String(host));
	}

	/* The head of a ClientRequest is a string from here on: ours go in at the blank line that ends it. */
	function watchCalls(http) {
		const proto = http.ClientRequest.prototype;
		replace(proto, "_storeHeader", (original) => function _storeHeader() {
			const result = apply(original, this, arguments);
			try {
				const store = storage.getStore();
				attach(this, store === undefined ? null : store);
				const head = this._header;
				if (typeof head === "string" && head.endsWith("\r\n\r\n")) {
					const host = this.getHeader("host") || this.host || "";
					const fields = callFields(head.slice(head.indexOf("\r\n") + 2), host);
					if (fields !== undefined) {
						this._header = head.slice(0, -2) + fields + "\r\n";
					}
				}
			} catch {
				/* The head is as it was. */
			}
			return result;
		});
		replace(proto, "emit", (original) => {
			const bound = bindEmit(original);
			return function emit(type, response) {
				if (type === "response" && response && Attach.has(this)) {
					attach(response, Attach.get(this));
				}
				return apply(bound, this, arguments);
			};
		});
	}

	/* fetch and every copy of undici. Runs after all other subscribers, which may have added a trace of their own. */
	function watchUndici() {
		const channel = channels.channel("undici:request:create");
		function add(request) {
			const headers = request.headers;
			let fields = "";
			if (typeof headers === "string") {
				fields = headers;
			} else if (Array.isArray(headers)) {
				for (let i = 0; i + 1 < headers.length; i += 2) {
					fields += headers[i] + ":" + headers[i + 1] + "\n";
				}
			}
			const origin = String(request.origin);
			const added = callFields(fields, request.host || origin.slice(origin.indexOf("//") + 2));
			if (added !== undefined) {
				for (const line of added.split("\r\n", 16)) {
					const colon = line.indexOf(": ");
					if (colon > 0) {
						request.addHeader(line.slice(0, colon), line.slice(colon + 2));
					}
				}
			}
		}
		channel.subscribe(() => {});
		defineProperty(channel, "publish", {
			configurable: true,
			writable: true,
			value: function publish(message, name) {
				apply(getPrototypeOf(this).publish, this, [message, name]);
				try {
					add(message.request);
				} catch {
					/* It goes out as it is. */
				}
			},
		});
	}

	/*
	 * A pool of undici's that has no free connection keeps a call's options, and makes the request of them when another call has
	 * ended. It passes them on as they are: so they carry the context.
	 */
	function watchUndiciPools(undici) {
		const pools = getPrototypeOf(undici.Pool.prototype);
		const base = getPrototypeOf(pools);
		replace(base, "dispatch", (original) => {
			replace(pools, "dispatch", () => function dispatch(options) {
				if (!options || getPrototypeOf(options) !== Object.prototype || Attach.has(options)) {
					return apply(original, this, arguments);
				}
				const store = storage.getStore();
				const carrying = { ...options };
				attach(carrying, store === undefined ? null : store);
				return apply(original, this, [carrying, ...Array.prototype.slice.call(arguments, 1)]);
			});
			return function dispatch(options) {
				const store = options ? Attach.get(options) : undefined;
				return store === undefined ?
					apply(original, this, arguments) :
					storage.run(store === null ? undefined : store, apply, original, this, arguments);
			};
		});
	}

	/* http2-wrapper (under got) keeps calls until there is a session with room, and makes them when another call has ended. */
	function watchHttp2Wrapper({ Agent }) {
		replace(Agent.prototype, "getSession", (original) => function getSession(origin, options, listeners) {
			for (const listener of Array.isArray(listeners) ? listeners : []) {
				if (!Attach.has(listener)) {
					const store = storage.getStore();
					attach(listener, null);
					replace(listener, "resolve", (resolve) => function (session) {
						return storage.run(store, apply, resolve, this, [session]);
					});
				}
			}
			return apply(original, this, arguments);
		});
	}

	function watchHttp2Session(proto) {
		if (Attach.has(proto)) {
			return;
		}
		attach(proto, null);
		replace(proto, "request", (original) => function request(headers, options) {
			let stream;
			try {
				const own = { ...headers };
				let fields = "";
				for (const name of Object.keys(own)) {
					if (name[0] !== ":") {
						fields += name + ":" + own[name] + "\n";
					}
				}
				const added = callFields(fields, own[":authority"] || Attach.get(this) || "");
				if (added !== undefined && !Array.isArray(headers)) {
					for (const line of added.split("\r\n", 16)) {
						const colon = line.indexOf(": ");
						if (colon > 0) {
							own[line.slice(0, colon)] = line.slice(colon + 2);
						}
					}
					const sensitive = Object.getOwnPropertySymbols(headers || {});
					for (const symbol of sensitive) {
						own[symbol] = headers[symbol];
					}
					stream = apply(original, this, [own, options]);
				}
			} catch (error) {
				if (stream !== undefined) {
					throw error;
				}
			}
			stream = stream === undefined ? apply(original, this, arguments) : stream;
			const store = storage.getStore();
			bindOwnEmit(stream, store === undefined ? null : store);
			return stream;
		});
	}

	function watchHttp2(http2) {
		replace(http2, "connect", (original) => function connect(authority) {
			const session = runIn(null, original, this, arguments);
			watchHttp2Session(getPrototypeOf(session));
			const { hostname, host, port } = typeof authority === "string" ? new URL(authority) : authority;
			attach(session, (hostname || host || "localhost") + (port ? ":" + port : ""));
			return session;
		});
	}

	/* ---- served requests ---- */

	function watchServers(http) {
		replace(http.IncomingMessage.prototype, "emit", bindEmit);
		replace(http.ServerResponse.prototype, "emit", (original) => {
			const bound = bindEmit(original);
			return function emit(type) {
				const request = Attach.get(this);
				if (!request || (!request.answered && type !== "close")) {
					return apply(bound, this, arguments);
				}
				/* What an ended response tells its listeners is about its request: access lines are written there. */
				const before = telling;
				telling = request;
				try {
					return apply(bound, this, arguments);
				} finally {
					telling = before;
					if (type === "close") {
						close(request);
					}
				}
			};
		});
		replace(http.ServerResponse.prototype, "end", (original) => function end() {
			const request = Attach.get(this);
			if (request && !request.answered) {
				answer(request);
			}
			return apply(original, this, arguments);
		});
	}

	/* TRACESHIM_RESPONSE_HEADER: the client is told the trace id, at the blank line that ends the head. */
	function watchResponses(http) {
		const name = native.responseHeader;
		if (name === "") {
			return;
		}
		replace(http.ServerResponse.prototype, "_storeHeader", (original) => function _storeHeader() {
			const result = apply(original, this, arguments);
			const request = Attach.get(this);
			const head = this._header;
			if (request && typeof head === "string" && head.endsWith("\r\n\r\n") &&
				!head.toLowerCase().includes("\n" + name.toLowerCase() + ":")) {
				const trace = native.trace(slotOf(request));
				if (trace !== undefined) {
					this._header = head.slice(0, -2) + name + ": " + trace + "\r\n\r\n";
				}
			}
			return result;
		});
	}

	function served({ request, response }) {
		prepare();
		const begun = begin(request.rawHeaders);
		attach(request, begun);
		attach(response, begun);
		storage.enterWith(begun);
	}

	/* Upgrades, CONNECT and HTTP/2 reach the program by their server's events only. */
	function watchServer(server) {
		if (Attach.has(server)) {
			return;
		}
		attach(server, null);
		replace(server, "emit", (original) => function emit(type, first, second) {
			if (type === "upgrade" || type === "connect") {
				if (first && first.rawHeaders && second) {
					return upgraded(original, this, arguments, first, second);
				}
			} else if (type === "stream" && first && second) {
				return streamed(original, this, arguments, first, second);
			}
			return apply(original, this, arguments);
		});
	}

	function upgraded(original, server, args, message, socket) {
		const begun = begin(message.rawHeaders);
		attach(message, begun);
		followOwnEmit(socket, begun);
		/* Its answer is whatever follows; nobody waits for it. */
		begun.answered = true;
		unanswered--;
		begun.of = begun;
		return storage.run(begun, apply, original, server, args);
	}

	function streamed(original, server, args, stream, headers) {
		const head = [];
		for (const name of Object.keys(headers)) {
			head.push(name, String(headers[name]));
		}
		const begun = begin(head);
		followOwnEmit(stream, begun);
		replace(stream, "end", (end) => function () {
			if (!begun.answered) {
				answer(begun);
			}
			return apply(end, this, arguments);
		});
		return storage.run(begun, apply, original, server, args);
	}

	/* ---- when what is watched ---- */

	let prepared = false;

	/* The program serves, or calls: its modules are loaded by now, and contexts begin to matter. */
	function prepare() {
		if (prepared) {
			return;
		}
		prepared = true;
		try {
			const net = require("net");
			const http = require("http");
			/* Sockets of pools are nobody's. */
			replace(net.Socket.prototype, "connect", (original) => function connect() {
				return runIn(null, original, this, arguments);
			});
			watchServers(http);
			watchResponses(http);
			watchCalls(http);
			watchFileStreams(require("fs").WriteStream);
			watchPassThrough(require("stream").PassThrough, require("fs").WriteStream);
			watchOnce(watchChildren, require("child_process"));
			replace(AsyncLocalStorage, "bind", (original) => function bind() {
				return bindExplicitly(original, this, arguments);
			});
			replace(AsyncLocalStorage, "snapshot", (original) => function snapshot() {
				return bindExplicitly(original, this, arguments);
			});
		} catch {
			/* What was not replaced is as it was. */
		}
	}

	function bindExplicitly(original, self, args) {
		const request = known();
		return request === undefined ?
			apply(original, self, args) :
			storage.run(explicit(request), apply, original, self, args);
	}

	/* A child that is started for a request gets its trace in the environment: the native side does that, once it is named. */
	function watchChildren(child_process) {
		const inName = (original) => function () {
			return named(original, this, arguments);
		};
		replace(child_process.ChildProcess.prototype, "spawn", inName);
		for (const name of ["spawnSync", "execSync", "execFileSync"]) {
			replace(child_process, name, inName);
		}
	}

	/* What a worker prints comes here by a port, in a context of no meaning. It was named in the worker, if at all. */
	function watchWorker({ worker }) {
		for (const stream of [worker.stdout, worker.stderr]) {
			replace(stream, "push", (original) => function push() {
				return runIn(null, original, this, arguments);
			});
		}
	}

	/* A worker with an environment or options of its own reads these instead of ours: it is invited by hand. */
	function watchWorkers(threads) {
		const { Worker } = threads;
		const made = new Proxy(Worker, {
			construct(target, args, newTarget) {
				const options = args[1] || {};
				threads.setEnvironmentData(READ_BY_PARENT, (options.stdout ? 1 << 1 : 0) | (options.stderr ? 1 << 2 : 0));
				try {
					return Reflect.construct(target, invited(args), newTarget);
				} finally {
					threads.setEnvironmentData(READ_BY_PARENT, undefined);
				}
			},
		});
		defineProperty(Worker.prototype, "constructor", { value: made, writable: true, configurable: true });
		defineProperty(threads, "Worker", { value: made, writable: true, configurable: true, enumerable: true });
		require("module").syncBuiltinESMExports();
	}

	function invited(args) {
		const [file, options] = args;
		if (options === null || typeof options !== "object") {
			return args;
		}
		const { env, execArgv } = options;
		const ownEnv = env !== null && typeof env === "object";
		if (!ownEnv && (env !== undefined || !Array.isArray(execArgv))) {
			return args; // what is shared (SHARE_ENV) is not ours to change
		}
		const invitation = '--require "' + __filename.replace(/["\\]/g, "\\$&") + '"';
		const from = ownEnv ? env : process.env;
		const rest = from.NODE_OPTIONS;
		return [
			file,
			{ ...options, env: { ...from, NODE_OPTIONS: rest === undefined ? invitation : invitation + " " + rest } },
			...args.slice(2),
		];
	}

	const loaders = {
		__proto__: null,
		"readable-stream": ({ PassThrough }) => watchPassThrough(PassThrough, require("fs").WriteStream),
		"sonic-boom": watchSonicBoom,
		"thread-stream": watchThreadStream,
		worker_threads: watchWorkers,
		"node:worker_threads": watchWorkers,
		"http2-wrapper": watchHttp2Wrapper,
		undici: watchUndiciPools,
		http2: watchHttp2,
		"node:http2": watchHttp2,
		/* Before the program takes functions out of it. */
		child_process: watchChildren,
		"node:child_process": watchChildren,
	};
	const seen = new Set();

	function watchOnce(watch, exports) {
		if (!seen.has(exports)) {
			seen.add(exports);
			try {
				watch(exports);
			} catch {
				/* It is as it was. */
			}
		}
	}

	/* A module is loaded by its name, or by its path where an ES module imports it. */
	function watchModules() {
		const path = /\/node_modules\/([^/]+)\/(?:source\/)?index\.js$/;
		replace(require("module"), "_load", (original) => function _load(name) {
			const exports = apply(original, this, arguments);
			if (typeof name === "string" && exports) {
				const found = name[0] === "/" ? path.exec(name) : null;
				const watch = loaders[found === null ? name : found[1]];
				if (watch !== undefined) {
					watchOnce(watch, exports);
				}
			}
			return exports;
		});
	}

	/* A subscriber that throws would end the program. */
	function subscribe(name, listener) {
		channels.channel(name).subscribe((message) => {
			try {
				listener(message);
			} catch {
				/* This event is missed. */
			}
		});
	}

	watchStandardStream("stdout", 1);
	watchStandardStream("stderr", 2);
	watchFiles();
	watchModules();
	watchUndici();
	process.on("uncaughtExceptionMonitor", nameCrash);
	subscribe("http.server.request.start", served);
	subscribe("net.client.socket", prepare);
	subscribe("worker_threads", watchWorker);
	subscribe("net.server.socket", ({ socket }) => {
		prepare();
		const server = socket.server || socket._server;
		if (server && (server.listenerCount("upgrade") + server.listenerCount("connect") + server.listenerCount("stream") > 0)) {
			watchServer(server);
		}
	});
}

try {
	restoreEnvironment();
	hideCompanion();
	const native = openNative();
	if (native !== undefined) {
		start(native);
	}
} catch {
	/* Without us, then. */
}

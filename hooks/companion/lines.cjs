/*
 * Lines that the program writes to the streams of its standard output: named while they are written, or made into records at once.
 */

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
 * writes a chunk and nothing else, and leaves a listener behind. Where that is one that we have seen, its source tells what it brings:
 * the program may write lines of its own to a stream into which it pipes another.
 */
const seenPipes = new WeakSet();
let brought;

function isPiped(stream, args) {
	const listeners = stream._events;
	const unpipe = args.length === 1 && listeners !== undefined ? listeners.unpipe : undefined;
	return unpipe !== undefined &&
		(args[0] === brought || !(typeof unpipe === "function" ? seenPipes.has(unpipe) : unpipe.every((one) => seenPipes.has(one))));
}

/* A pipe tells the stream of its source when it is laid. */
function watchPipes(stream) {
	override(stream, "emit", (upper) => function emit(type, source) {
		const { unpipe } = type === "pipe" && this._events ? this._events : {};
		if (unpipe !== undefined && source) {
			seenPipes.add(typeof unpipe === "function" ? unpipe : unpipe[unpipe.length - 1]);
			tellBrought(source);
		}
		return apply(upper.emit, this, arguments);
	});
}

const tellers = new WeakSet();

function tellBrought(source) {
	if (tellers.has(source)) {
		return;
	}
	tellers.add(source);
	override(source, "emit", (upper) => function emit(type, chunk) {
		if (type !== "data") {
			return apply(upper.emit, this, arguments);
		}
		const before = brought;
		brought = chunk;
		try {
			return apply(upper.emit, this, arguments);
		} finally {
			brought = before;
		}
	});
}

function runForOwner(write, stream, chunk) {
	const owner = chunk instanceof Uint8Array ? Attach.get(chunk) : undefined;
	return runIn(owner instanceof Request ? owner : null, write, stream, [chunk]);
}

function byOwner(original) {
	return function write(chunk) {
		return isPiped(this, arguments) ? runForOwner(original, this, chunk) : apply(original, this, arguments);
	};
}

/* What waits in a stream stays its request's, however late it comes out: one binding for all of it keeps the slot. */
function bindingOf(request) {
	let binding = request.binding === undefined ? undefined : request.binding.deref();
	if (binding === undefined) {
		binding = explicit(request);
		request.binding = new WeakRef(binding);
	}
	return binding;
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
		attach(bytes, bindingOf(owner));
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

	let owned = false; // the call in progress is from the next lines
	override(stream, "write", (upper) => function write(chunk, encoding, callback) {
		if (owned) {
			owned = false;
		} else if (isPiped(this, arguments)) {
			owned = true;
			return runForOwner(write, this, chunk);
		}
		const text = typeof chunk === "string";
		if (!text && !(chunk instanceof Uint8Array)) {
			return apply(upper.write, this, arguments);
		}
		const one = fd === 2 || isOneEvent(chunk, encoding); // nobody collects what goes to stderr
		if (!direct || stream.writableLength !== 0 || stream.writableCorked !== 0) {
			if (typeof encoding === "function") {
				callback = encoding;
				encoding = undefined;
			}
			return waiting(upper.write, this, one, chunk, encoding, callback);
		}
		inLine = !endsLine(chunk);
		const before = words[SLOT];
		words[SLOT] = one ? slotNow() : NOBODY;
		words[QUEUES] = 1;
		try {
			return apply(upper.write, this, arguments);
		} finally {
			words[SLOT] = before;
			words[QUEUES] = 0;
		}
	});
	logs.add(stream);
	watchPipes(stream);
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
	replaceGetter(process, name, descriptor, (stream) => {
		if (stream !== watched && stream) {
			watched = stream;
			watchStream(stream, fd);
		}
	});
}

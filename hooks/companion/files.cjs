/*
 * Lines that reach a log by fs: directly, by streams, and by the loggers that collect them (pino's sonic-boom and thread-stream).
 */

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
	try {
		if (process.listenerCount("uncaughtException") === 0 && !process.hasUncaughtExceptionCaptureCallback()) {
			words[SLOT] = slotNow();
		}
	} catch {
		/* It is nobody's. */
	}
}

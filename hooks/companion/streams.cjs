/*
 * Streams that several requests write to. A stream that is busy keeps what it is given, and goes on with it from the end of
 * what it was busy with, in the name of whose that was. Sockets are Duplex streams, and nobody's: only what tells that a write
 * is done is about them.
 */

/* What was put into a stream's readable side, and by whom. Not a Request: others put these on chunks, and are more certain. */
class Pushed {
	constructor(store) {
		this.store = store;
	}
}

/* The owners of what a stream keeps for its writable side, in the same order, each in a box. */
function ownersOf(stream, state) {
	let owners = Attach.get(state);
	if (owners === undefined) {
		owners = [];
		attach(state, owners);
		replace(stream, "_write", (original) => function _write() {
			return owners.length === 0 ? apply(original, this, arguments) : runIn(owners.shift().store, original, this, arguments);
		});
		replace(stream, "_writev", (original) => function _writev(chunks) {
			const theirs = owners.splice(0, chunks.length).map((box) => box.store);
			return theirs.length === 0 ? apply(original, this, arguments) : runIn(ownerOf(theirs), original, this, arguments);
		});
		/* There is room again: all who wait are told, by whoever made it. */
		replace(stream, "emit", (original) => function emit(type) {
			return type === "drain" ? runIn(null, original, this, arguments) : apply(original, this, arguments);
		});
	}
	return owners;
}

/* Will a write have to wait, for another one, for uncork() or for the stream to open? */
function isBusy(state) {
	return state !== undefined && (state.writing || state.corked || state.constructed === false);
}

function keepOwners(upper) {
	return function write() {
		const state = this._writableState;
		const busy = isBusy(state);
		if (!busy && (state === undefined || !Attach.has(state) || Attach.get(state).length === 0)) {
			return apply(upper.write, this, arguments);
		}
		const box = { store: storage.getStore() };
		if (!busy) {
			/* From within a write that has just ended, while others wait: it goes ahead of them. */
			const owners = Attach.get(state);
			owners.unshift(box);
			try {
				return apply(upper.write, this, arguments);
			} finally {
				if (owners[0] === box) {
					owners.shift();
				}
			}
		}
		const before = state.bufferedRequestCount;
		const result = apply(upper.write, this, arguments);
		if (state.bufferedRequestCount === before + 1) {
			const owners = ownersOf(this, state);
			while (owners.length < before) {
				owners.push({ store: null }); // what it kept before we looked
			}
			owners.push(box);
		}
		return result;
	};
}

/*
 * Who writes may be told when that is done: by whoever's write ended then, or by whoever made the stream, where it has a handle
 * that does the work (zlib). What console is told is its own affair, and the same function each time; HTTP corks its sockets, and is
 * told of its own responses alone.
 */
function carryBack(isLate) {
	return (upper) => function write(chunk, encoding, callback) {
		const given = typeof encoding === "function" ? encoding : callback;
		if (typeof given !== "function" || !isLate(this._writableState) || logs.has(this)) {
			return apply(upper.write, this, arguments);
		}
		return apply(upper.write, this, given === encoding ? [chunk, carried(given)] : [chunk, encoding, carried(given)]);
	};
}

/* The stream whose push is in progress and hands its chunk to listeners at once. */
let passing;

/* What the readable side cannot pass on at once is marked; text becomes the bytes that it would become. */
function markPushed(upper) {
	return function push(chunk, encoding) {
		const state = this._readableState;
		if (chunk === null || chunk === undefined || (state.flowing && state.length === 0 && !state.sync)) {
			const before = passing;
			passing = this;
			try {
				return apply(upper.push, this, arguments);
			} finally {
				passing = before;
			}
		}
		let given = chunk;
		if (typeof chunk === "string" && !state.objectMode && !state.encoding) {
			const named = encoding || state.defaultEncoding;
			if (chunk.length > 0 && Buffer.isEncoding(named)) {
				given = Buffer.from(chunk, named);
			}
		}
		if (typeof given === "object" && !(Attach.get(given) instanceof Request)) {
			attach(given, new Pushed(storage.getStore()));
		}
		return given === chunk ? apply(upper.push, this, arguments) : apply(upper.push, this, [given]);
	};
}

/* What was kept is told in the name of who put it in, or in nobody's: text, and objects that are no longer the same. */
function tellPushed(upper) {
	return function emit(type, chunk) {
		if (type !== "data" || passing === this) {
			return apply(upper.emit, this, arguments);
		}
		const owner = typeof chunk === "object" && chunk !== null ? Attach.get(chunk) : undefined;
		const store = owner instanceof Pushed ? owner.store : owner instanceof Request ? owner : null;
		const args = [];
		for (let i = 0; i < arguments.length; i++) {
			args[i] = arguments[i]; // see bindEmit
		}
		return runIn(store, upper.emit, this, args);
	};
}

function watchStreams({ Writable, Duplex, Transform }) {
	override(Writable.prototype, "write", keepOwners);
	override(Transform.prototype, "write", keepOwners);
	override(Writable.prototype, "write", carryBack(isBusy));
	override(Transform.prototype, "write", carryBack(() => true));
	override(Duplex.prototype, "write", carryBack((state) => state !== undefined && state.writing));
	override(Transform.prototype, "push", markPushed);
	override(Transform.prototype, "emit", tellPushed);
}

/*
 * zlib's streams have a handle, which brings what it made in the context of whoever made the stream. It is about who writes to it, while that
 * is one and the same.
 */
const SEVERAL = Symbol("several");

function watchZlib({ Gzip }) {
	const base = getPrototypeOf(getPrototypeOf(Gzip.prototype));
	override(base, "write", (upper) => function write() {
		const writer = Attach.get(this);
		if (writer !== SEVERAL) {
			const store = storage.getStore() || null;
			if (writer !== store) {
				attach(this, writer === undefined ? store : SEVERAL);
			}
		}
		return apply(upper.write, this, arguments);
	});
	override(base, "push", (upper) => function push() {
		const writer = Attach.get(this);
		return writer === undefined ?
			apply(upper.push, this, arguments) :
			runIn(writer === SEVERAL ? null : writer, upper.push, this, arguments);
	});
}

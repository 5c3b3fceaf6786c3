/*
 * What a request made, and others may use as well: connections, threads, processes. Node calls what listens there in the context in which
 * it was made, for ever. So what is made when it is needed for the first time, as programs do, brings everybody's answers in the
 * name of one request, which may still be at work.
 *
 * Connections are pooled more often than not: they belong to nobody (here those whose handle net.Socket.connect does not make; the
 * others are in watch.cjs). Threads and processes are mostly started for one request, which listens to them in callbacks. They are its own
 * until somebody else tells them something, or somebody tells them something while they answer: that is the next one's turn. What comes by a
 * port alone is nobody's: who told the other end something cannot be seen from here.
 */

class Peer {
	constructor(owner) {
		this.owner = owner;
		this.answers = false; // what it says is being told at this moment
		this.shared = false;
	}
}

const ANSWERS = new Set(["message", "data", "readable"]);

/* Its events, of which some bring answers. Those of a thread come by a port. */
function hearPeer(peer, emitter) {
	override(emitter, "emit", (upper) => function emit(type) {
		if (peer.shared) {
			return runIn(null, upper.emit, this, arguments);
		}
		const before = peer.answers;
		peer.answers = before || ANSWERS.has(type);
		try {
			return storage.getStore() === undefined ?
				runIn(peer.owner, upper.emit, this, arguments) :
				apply(upper.emit, this, arguments);
		} finally {
			peer.answers = before;
		}
	});
}

/* How it is told something. */
function tellPeer(peer, object, ...names) {
	for (const name of names) {
		replace(object, name, (original) => function () {
			peer.shared ||= peer.answers || storage.getStore() !== peer.owner;
			return apply(original, this, arguments);
		});
	}
}

/*
 * A thread is made now. What it prints comes here by a port, in a context of no meaning: it was named in there, if at all. Node says so
 * (since 20), even if it is an ES module that makes it.
 */
function watchWorker({ worker }) {
	if (Attach.has(worker)) {
		return;
	}
	attach(worker, null);
	for (const stream of [worker.stdout, worker.stderr]) {
		replace(stream, "push", (original) => function push() {
			return runIn(null, original, this, arguments);
		});
	}
	const owner = storage.getStore();
	if (owner !== undefined) {
		const peer = new Peer(owner);
		hearPeer(peer, worker);
		tellPeer(peer, worker, "postMessage");
	}
}

/* A process was started now. */
function watchChild(child) {
	const owner = storage.getStore();
	if (owner === undefined) {
		return;
	}
	const peer = new Peer(owner);
	hearPeer(peer, child);
	tellPeer(peer, child, "send");
	for (const stream of child.stdio || []) {
		if (stream) {
			hearPeer(peer, stream);
			tellPeer(peer, stream, "write", "end");
		}
	}
}

/* Messages of all ports, those of threads and of broadcast channels too, are told by this method of what they inherit from. */
function watchPorts({ prototype }) {
	override(prototype, Symbol.for("nodejs.internal.kHybridDispatch"), (upper) => function (event, type) {
		return runIn(null, upper[Symbol.for("nodejs.internal.kHybridDispatch")], this, arguments);
	});
}

/* Observers are told of what several requests did at once, in the context of whoever came first. */
function watchObservers({ prototype }) {
	const dispatch = ownKeys(prototype).find((key) => typeof key === "symbol" && key.description === "kDispatch");
	replace(prototype, dispatch, (original) => function () {
		return runIn(null, original, this, arguments);
	});
}

/* Both ends of a connection in TLS are made of a handle of its own, before it is connected. */
function watchTls({ TLSSocket }) {
	replace(TLSSocket.prototype, "_wrapHandle", (original) => function _wrapHandle() {
		return runIn(null, original, this, arguments);
	});
}

function watchDatagrams({ Socket }) {
	override(Socket.prototype, "emit", (upper) => function emit(type) {
		return type === "message" ? runIn(null, upper.emit, this, arguments) : apply(upper.emit, this, arguments);
	});
}

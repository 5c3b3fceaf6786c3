/*
 * Spans of what is served and called, where they are exported (native.spanWords is there); else nothing in here runs. What is known of
 * an exchange is kept with the objects that live as long as it does. At its end the numbers go into an array of both sides, the
 * texts into one string, and the native side makes a record of them (hooks/node_spans.c).
 *
 * When. A served request begins when its head was read, and ends when its response was handed to the kernel. Its client may have
 * the answer before JavaScript hears of that. So the span is held (ring.h) before the call that ends the response, and settled
 * behind it if all is out by then; a process that is killed in between leaves it. Where something is still to be written the span
 * comes with 'finish'. Calls: span_calls.cjs.
 *
 * Whose. Beside an OpenTelemetry SDK, what it traces is its own: a request in which a span of its is active, and a call whose head
 * has a trace already.
 */

/* enum span_word, hooks/node_spans.c. */
const KIND = 0;
const START = 1;
const FIRST = 2;
const END = 3;
const BYTES_IN = 4;
const BYTES_OUT = 5;
const STATUS = 6;
const METHOD = 7;
const VERSION = 8;
const ERROR = 9;
const FLAGS = 10;
const PEER_PORT = 11;
const PEER = 12;
const TEXT = 16;
/* enum span_how. */
const PUSH = 0;
const HOLD = 1;
const SETTLE = 2;
const DROP = 3;
const CLOCK = 4;
/* shim/ring_format.h. */
const SERVER = 2;
const CLIENT = 3;
const TRUNCATED = 0x08;
const TLS = 0x10;
const UPGRADED = 0x100;
const TEXT_MAX = 1024;
const RESET = 1;
const CLOSED = 2;
const UNANSWERED = 3;
const REFUSED = 4;
const TIMEOUT = 5;
const METHODS = {
	__proto__: null,
	GET: 1, HEAD: 2, POST: 3, PUT: 4, DELETE: 5, CONNECT: 6, OPTIONS: 7, TRACE: 8, PATCH: 9,
};
/* Where the ids of a call end: IDS_LEN. */
const IDS = 33;
/* What one TLS record takes: it is encrypted and written by the call that brings it. */
const TLS_RECORD = 16384;

const spanWords = native.spanWords;
const isTraced = spanWords !== undefined;
const now = isTraced ? performance.now.bind(performance) : undefined;

/* What is attached to sockets, calls and their responses: not to be mixed up with whose they are. */
class Mark extends (
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
		if (#value in object) {
			object.#value = value;
		} else {
			new Mark(object).#value = value;
		}
	}
}

/* What is known of a connection: who is there, and which of its bytes are whose. */
class Wire {
	constructor(socket) {
		this.socket = socket;
		this.asked = false;
		this.flags = 0;
		this.port = 0;
		this.peer = undefined;
		this.read = 0; // bytes of exchanges that are over
		this.written = 0;
		this.open = 0; // exchanges
		this.mixed = false; // there were several: what was whose is not known
	}
}

function askPeer(wire) {
	const handle = wire.socket._handle;
	if (wire.asked || !handle || !(handle.fd >= 0) || wire.socket.connecting) {
		return;
	}
	wire.asked = true;
	native.peer(handle.fd);
	wire.flags = spanWords[FLAGS];
	if (wire.flags !== 0) {
		wire.port = spanWords[PEER_PORT];
		wire.peer = [spanWords[PEER], spanWords[PEER + 1], spanWords[PEER + 2], spanWords[PEER + 3]];
	}
}

function wireOf(socket) {
	let wire = Mark.get(socket);
	if (wire === undefined) {
		wire = new Wire(socket);
		Mark.set(socket, wire);
	}
	return wire;
}

class Span {
	constructor(kind, start, method, target, version) {
		this.kind = kind;
		this.start = start;
		this.first = 0;
		this.end = 0;
		this.method = method;
		this.target = target;
		this.version = version;
		this.status = 0;
		this.error = 0;
		this.flags = 0;
		this.head = undefined; // served: name, value, name, value, ...
		this.host = "";
		this.route = "";
		this.context = undefined; // Koa's, which knows the route
		this.ids = ""; // a call's
		this.state = "";
		this.wire = undefined;
		this.bytesIn = 0;
		this.bytesOut = 0;
		this.held = false;
		this.timedOut = false;
	}
}

/* ---- bytes ---- */

/* The socket of a session is a stand-in, which gives away nothing but its handle. */
function wireOfSession(session) {
	let wire = Mark.get(session);
	const socket = session.socket;
	if (wire === undefined && socket) {
		wire = new Wire({ _handle: socket._handle, connecting: false });
		Mark.set(session, wire);
		askPeer(wire);
	}
	return wire;
}

function openWire(span, socket) {
	const wire = wireOf(socket);
	span.wire = wire;
	askPeer(wire);
	if (wire.open++ > 0) {
		wire.mixed = true;
	}
}

function countBytes(span) {
	const wire = span.wire;
	if (wire !== undefined && !wire.mixed && span.version !== 20) {
		span.bytesIn = wire.socket.bytesRead - wire.read;
		span.bytesOut = wire.socket.bytesWritten - wire.written;
	}
}

function closeWire(span) {
	const wire = span.wire;
	span.wire = undefined;
	if (wire !== undefined && span.version !== 20 && --wire.open === 0) {
		wire.mixed = false;
		wire.read = wire.socket.bytesRead;
		wire.written = wire.socket.bytesWritten;
	}
}

/* ---- the record ---- */

let flags;

/* Characters are bytes; what comes from the program may have others. */
function put(at, text) {
	let bytes = typeof text === "string" ? text : "";
	if (bytes.length > TEXT_MAX) {
		bytes = bytes.slice(0, TEXT_MAX);
		flags |= TRUNCATED;
	}
	spanWords[TEXT + at] = bytes.length;
	return bytes;
}

const WIDE = /[^\0-\xff]/;

function bytesOf(text) {
	return WIDE.test(text) ? Buffer.from(text, "utf8").latin1Slice() : text;
}

let host;
let agent;
let forwarded;

/* What a span shows of the head of a served request; the first of each counts, and Forwarded more than what proxies used before it. */
function readHead(head) {
	let standard;
	host = agent = forwarded = undefined;
	for (let i = 0; i + 1 < head.length; i += 2) {
		const name = head[i];
		switch (name.length) {
		case 4:
			if (host === undefined && name.toLowerCase() === "host") {
				host = head[i + 1];
			}
			break;
		case 9:
			if (standard === undefined && name.toLowerCase() === "forwarded") {
				standard = head[i + 1];
			}
			break;
		case 10:
			if (agent === undefined && name.toLowerCase() === "user-agent") {
				agent = head[i + 1];
			} else if (name === ":authority") {
				host = head[i + 1];
			}
			break;
		case 15:
			if (forwarded === undefined && name.toLowerCase() === "x-forwarded-for") {
				forwarded = head[i + 1];
			}
			break;
		default:
		}
	}
	forwarded = standard === undefined ? forwarded : standard;
}

/* The numbers that may be others when what is held is settled. */
function putEnd(span) {
	spanWords[FIRST] = span.first;
	spanWords[END] = span.end;
	spanWords[BYTES_IN] = span.bytesIn;
	spanWords[BYTES_OUT] = span.bytesOut;
	spanWords[STATUS] = span.status;
	spanWords[ERROR] = span.error;
}

/* Numbers into the array; returns the texts. */
function putSpan(span) {
	const method = METHODS[span.method];
	const wire = span.wire;
	flags = span.flags;
	putEnd(span);
	spanWords[KIND] = span.kind;
	spanWords[START] = span.start;
	spanWords[METHOD] = method === undefined ? 0 : method;
	spanWords[VERSION] = span.version;
	if (wire !== undefined && wire.flags !== 0) {
		flags |= wire.flags;
		spanWords[PEER_PORT] = wire.port;
		for (let i = 0; i < 4; i++) {
			spanWords[PEER + i] = wire.peer[i];
		}
	} else {
		spanWords.fill(0, PEER_PORT, TEXT);
	}
	if (span.head !== undefined) {
		readHead(span.head);
	} else {
		host = span.host;
		agent = forwarded = undefined;
	}
	const texts = span.ids + put(0, method === undefined ? span.method : "") + put(1, span.target) + put(2, host) +
		put(3, agent) + put(4, forwarded) + put(5, span.route) + put(6, span.state);
	spanWords[FLAGS] = flags;
	return texts;
}

/* ---- served requests ---- */

/* Whose span the numbers are that are held. */
let holder;

function isOfSdk(request) {
	try {
		return request.adopted === true || traceOfSdk() !== undefined;
	} catch {
		return false;
	}
}

/* false: it gets no span. */
function pushServed(how, request, span) {
	const slot = isOfSdk(request) ? NOBODY : slotOf(request);
	if (slot <= 0) {
		return false;
	}
	native.span(how, slot, putSpan(span));
	return true;
}

/* The exchange is over. */
function endServed(request, span) {
	request.span = undefined;
	span.end = now();
	countBytes(span);
	if (holder === span) {
		holder = undefined;
		putEnd(span);
		native.span(SETTLE, 0, "");
	} else {
		pushServed(PUSH, request, span);
	}
	closeWire(span);
}

function dropServed(request, span) {
	request.span = undefined;
	closeWire(span);
}

function servedAndTraced(message) {
	served(message);
	const { request, response } = message;
	const socket = request.socket;
	const span = new Span(SERVER, now(), request.method, request.url, request.httpVersionMajor * 10 + request.httpVersionMinor);
	span.head = request.rawHeaders;
	span.flags = socket.encrypted === true ? TLS : 0;
	openWire(span, socket);
	Attach.get(response).span = span;
}

/* Did all of the response leave with the call that ended it? */
function isOut(response) {
	const socket = response.socket;
	if (!socket || response.outputSize !== 0 || socket.destroyed) {
		return false;
	}
	const state = socket._writableState;
	if (state === undefined || state.length === 0) {
		return state !== undefined;
	}
	/* Encrypted bytes are out before that is said. */
	const below = socket.encrypted === true && state.length < TLS_RECORD && socket._handle ? socket._handle._parent : undefined;
	return Boolean(below) && below.writeQueueSize === 0;
}

function findRouteOf(span, message) {
	if (span.route === "") {
		span.route = bytesOf(routeOf(span, message));
	}
}

/* Before the call that ends the response. */
function holdServed(request, span, response) {
	span.held = true;
	span.end = now();
	if (span.first === 0) {
		span.status = response.statusCode;
	}
	countBytes(span);
	findRouteOf(span, response.req);
	holder = undefined;
	if (pushServed(HOLD, request, span)) {
		holder = span;
	} else {
		dropServed(request, span);
	}
}

/* Behind it. */
function settleServed(request, span, response) {
	if (isOut(response)) {
		endServed(request, span);
	} else if (holder === span) {
		holder = undefined;
		native.span(DROP, 0, "");
	}
}

/* Why was the response not completed? */
function faultOf(socket) {
	const state = socket ? socket._readableState : undefined;
	const failed = state && (state.errored || socket._writableState.errored);
	if (failed && (failed.code === "ECONNRESET" || failed.code === "EPIPE")) {
		return RESET;
	}
	return state && state.ended ? CLOSED : UNANSWERED;
}

function watchServedSpans({ ServerResponse }) {
	const proto = ServerResponse.prototype;
	function spanOf(response) {
		const request = Attach.get(response);
		return request ? request.span : undefined;
	}
	override(proto, "_send", (upper) => function _send() {
		const span = spanOf(this);
		if (span !== undefined && span.first === 0) {
			span.first = now();
			span.status = this.statusCode;
		}
		return apply(upper._send, this, arguments);
	});
	override(proto, "end", (upper) => function end() {
		const span = spanOf(this);
		if (span === undefined || span.held) {
			return apply(upper.end, this, arguments);
		}
		const request = Attach.get(this);
		try {
			holdServed(request, span, this);
		} catch {
			request.span = undefined;
		}
		try {
			return apply(upper.end, this, arguments);
		} finally {
			if (request.span === span) {
				try {
					settleServed(request, span, this);
				} catch {
					request.span = undefined;
				}
			}
		}
	});
	override(proto, "emit", (upper) => function emit(type) {
		if (type === "finish" || type === "close") {
			const span = spanOf(this);
			if (span !== undefined) {
				const request = Attach.get(this);
				try {
					if (type === "close" && !this.writableFinished) {
						span.error = faultOf(this.req.socket);
						findRouteOf(span, this.req);
					}
					endServed(request, span);
				} catch {
					request.span = undefined;
				}
			}
		}
		return apply(upper.emit, this, arguments);
	});
}

/* ---- what leaves HTTP ---- */

/* The answer to an upgrade or a CONNECT is what the program writes first, by itself. */
function traceUpgrade(request, message, socket) {
	const span = new Span(SERVER, now(), message.method, message.url, message.httpVersionMajor * 10 + message.httpVersionMinor);
	span.head = message.rawHeaders;
	span.flags = socket.encrypted === true ? TLS : 0;
	openWire(span, socket);
	request.span = span;
	override(socket, "write", (upper) => function write(chunk) {
		const result = apply(upper.write, this, arguments);
		if (request.span === span) {
			try {
				const line = /^HTTP\/1\.[01] (\d{3})/.exec(typeof chunk === "string" ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, 16).latin1Slice());
				span.first = now();
				span.status = line === null ? 0 : Number(line[1]);
				span.flags |= span.status === 101 || (span.status === 200 && message.method === "CONNECT") ? UPGRADED : 0;
				endServed(request, span);
			} catch {
				request.span = undefined;
			}
		}
		return result;
	});
	override(socket, "emit", (upper) => function emit(type) {
		if (type === "close" && request.span === span) {
			try {
				span.error = faultOf(socket);
				endServed(request, span);
			} catch {
				request.span = undefined;
			}
		}
		return apply(upper.emit, this, arguments);
	});
}

/* ---- HTTP/2, served ---- */

const CANCEL = 8; // RST_STREAM: the client left

function watchStreamHeads(proto) {
	if (Mark.get(proto) !== undefined) {
		return;
	}
	Mark.set(proto, true);
	for (const name of ["respond", "respondWithFD", "respondWithFile"]) {
		override(proto, name, (upper) => function () {
			const request = Attach.get(this);
			if (request && request.span !== undefined && request.span.first === 0) {
				request.span.first = now();
			}
			return apply(upper[name], this, arguments);
		});
	}
}

function traceStream(request, stream, headers, head) {
	const span = new Span(SERVER, now(), headers[":method"], headers[":path"], 20);
	span.head = head;
	span.flags = headers[":scheme"] === "https" ? TLS : 0;
	span.wire = wireOfSession(stream.session);
	request.span = span;
	watchStreamHeads(getPrototypeOf(stream));
	override(stream, "emit", (upper) => function emit(type) {
		if ((type === "finish" || type === "close") && request.span === span) {
			try {
				const sent = stream.sentHeaders;
				span.status = sent ? Number(sent[":status"]) : 0;
				if (type === "close" && stream.rstCode !== 0) {
					span.error = stream.rstCode === CANCEL ? CLOSED : RESET;
				} else if (type === "close" && !stream.writableEnded) {
					span.error = UNANSWERED;
				}
				endServed(request, span);
			} catch {
				request.span = undefined;
			}
		}
		return apply(upper.emit, this, arguments);
	});
}

/* ---- where everything is put in place ---- */

/* At the start: what is only subscribed to, or is met when the program loads it. */
function watchSpansEarly() {
	spanWords[START] = now();
	native.span(CLOCK, 0, "");
	native.call = call;
	watchUndiciSpans();
	const watch = loaders.http2;
	loaders.http2 = loaders["node:http2"] = (http2) => {
		watch(http2);
		replace(http2, "connect", (original) => function connect() {
			const session = apply(original, this, arguments);
			watchSessionSpans(session);
			return session;
		});
	};
	watchRoutes();
}

/* With the first connection. */
function watchSpans(http) {
	watchServedSpans(http);
	watchCallSpans(http);
}

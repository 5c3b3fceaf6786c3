/*
 * Requests and their contexts: which request does the program work for now, and what makes that certain? And their slots, which are
 * the native side's names for them.
 */

const channels = require("diagnostics_channel");
const words = native.words;
const readByParent = takeReadByParent();
const storage = makeStorage();
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
			if (isTraced) {
				request.adopted = true;
				native.adopt(request.slot);
			}
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

/*
 * Node's own listener for the end of a request that was answered before that (since Node 24). It is about the connection alone, and
 * to enter a context and leave it again is dear there.
 */
let clearIncoming;

function isNodes(listener) {
	if (clearIncoming === undefined && typeof listener === "function" && listener.name === "clearIncoming" &&
		String(listener).includes("parser.incoming")) {
		clearIncoming = listener;
	}
	return listener === clearIncoming;
}

/* Most events have no listener, and then there is nothing to name; but an error has a crash, which is named. */
function isHeard(emitter, type) {
	const listeners = emitter._events;
	const listener = listeners === undefined ? undefined : listeners[type];
	return type === "error" || (listener !== undefined && !(type === "end" && isNodes(listener)));
}

/*
 * V8 forwards `arguments` without making an object of them only in functions from which they cannot escape: so they are not given
 * to anybody but apply in what is called often. Elsewhere they are copied.
 */
function bindEmit(upper) {
	return function emit(type) {
		const bound = Attach.get(this);
		if (bound === undefined || !isHeard(this, type) || storage.getStore() === (bound === null ? undefined : bound)) {
			return apply(upper.emit, this, arguments);
		}
		const args = [];
		for (let i = 0; i < arguments.length; i++) {
			args[i] = arguments[i];
		}
		return runIn(bound, upper.emit, this, args);
	};
}

/* For the few objects whose class is not worth a look at each of its events. */
function bindOwnEmit(object, request) {
	attach(object, request);
	override(object, "emit", bindEmit);
}

/* The same for what a request is answered on. A listener of ours could be seen there, and removed. */
function followOwnEmit(object, request) {
	attach(object, request);
	override(object, "emit", (upper) => {
		const bound = bindEmit(upper);
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

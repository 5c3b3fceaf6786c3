/*
 * What all other parts are made of: replaced functions that look like those that they replace, and what hangs on objects unseen.
 */

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

/*
 * Replace a function, keeping all that can be seen of it but its identity. An object's own is not among its keys then.
 * make(upper) gets the object on which to look the function up at each call: what is inherited may be patched further up at any
 * time. (Asking for the prototype at each call leaves compiled code for the runtime's, and is dear.)
 */
function override(object, name, make) {
	const before = getOwnPropertyDescriptor(object, name);
	const original = object[name];
	if (typeof original !== "function") {
		return;
	}
	const made = make(before !== undefined ? { __proto__: null, [name]: original } : getPrototypeOf(object));
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

/* The same for what is not called often: make(original). */
function replace(object, name, make) {
	const own = getOwnPropertyDescriptor(object, name) !== undefined;
	override(object, name, (upper) => make(own ? upper[name] : function () {
		return apply(upper[name], this, arguments);
	}));
}

/* A property that is made when it is first looked at: look(value) sees what its getter made. */
function replaceGetter(object, name, descriptor, look) {
	function get() {
		const value = apply(descriptor.get, this, []);
		try {
			look(value);
		} catch {
			/* It is as it was. */
		}
		return value;
	}
	defineProperty(get, "name", { value: descriptor.get.name, configurable: true });
	defineProperty(object, name, { ...descriptor, get });
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
		this.binding = undefined; // weakly, the one of what waits in streams: what it is registered for holds the request
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

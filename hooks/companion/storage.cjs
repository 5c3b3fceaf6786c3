/*
 * The context that follows the program's promises, timers and operations: what AsyncLocalStorage keeps, by the same means but for
 * half of the price, where Node has no better means than async_hooks (before Node 24).
 *
 * The value hangs on each resource (a tick, a promise, a timer, a handle), and is copied, when one is made, from the one whose
 * callback runs. AsyncLocalStorage finds and reads that one anew each time, by look-ups in objects of all shapes: three for
 * each resource that is made, and each takes longer than all the rest. But what runs is known by its number, too. So the values
 * of the last resources are kept in a ring by number, and only who is not there any more is asked himself; and the values are
 * stored where compiled code can know the shape of what it stores into.
 */

const { AsyncLocalStorage, createHook, executionAsyncId, executionAsyncResource } = require("async_hooks");

/* Resources whose values are at hand: what some dozens of requests make. A power of two. */
const RING = 1024;

function makeStorage() {
	/* Elsewhere it is made of better stuff than we could be. */
	const { _enable, _propagate } = AsyncLocalStorage.prototype;
	return _enable === undefined || _propagate === undefined ? new AsyncLocalStorage() : makeHookedStorage();
}

/* What is asked of an AsyncLocalStorage in here, and nothing more. */
function makeHookedStorage() {
	const value = Symbol("kResourceStore");
	const numbers = new Float64Array(RING).fill(-1);
	const values = new Array(RING).fill(undefined);
	const hook = createHook({ init });
	let enabled = false;

	/* Number 0 is no resource's own. */
	function remember(number, store) {
		if (number > 0) {
			numbers[number & (RING - 1)] = number;
			values[number & (RING - 1)] = store;
		}
	}

	function ask(number) {
		if (!enabled) {
			return undefined;
		}
		const store = executionAsyncResource()[value];
		remember(number, store);
		return store;
	}

	function getStore() {
		const number = executionAsyncId();
		const at = number & (RING - 1);
		return numbers[at] === number ? values[at] : ask(number);
	}

	/* An exception in here would end the process: there is nothing in here that throws. One store for each shape. */
	function init(number, type, trigger, resource) {
		const store = getStore();
		remember(number, store);
		if (type === "TickObject") {
			resource[value] = store;
		} else if (type === "PROMISE") {
			resource[value] = store;
		} else if (type === "Timeout") {
			resource[value] = store;
		} else {
			resource[value] = store;
		}
	}

	function enterWith(store) {
		if (!enabled) {
			enabled = true;
			hook.enable();
		}
		executionAsyncResource()[value] = store;
		remember(executionAsyncId(), store);
	}

	function run(store, callback, ...args) {
		const before = getStore();
		if (store === before) {
			return apply(callback, null, args);
		}
		const resource = executionAsyncResource();
		const number = executionAsyncId();
		enterWith(store);
		try {
			return apply(callback, null, args);
		} finally {
			resource[value] = before;
			remember(number, before);
		}
	}

	return { getStore, enterWith, run };
}

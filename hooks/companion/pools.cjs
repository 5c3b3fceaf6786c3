/*
 * Queues, limiters and pools of the program's own: packages that keep what they are given, and call it when somebody else's
 * work has ended, and so in somebody else's name. Here each is called in the name of who handed it over. The program's own
 * contexts are not touched: it is our storage alone that is changed, for the time of the call.
 */

/* Called for whoever hands it over now. All else about it is as it was: name, length, its being async. */
function carried(given) {
	if (typeof given !== "function") {
		return given;
	}
	const store = storage.getStore();
	return new Proxy(given, {
		apply: (target, self, args) => runIn(store, target, self, args),
	});
}

/* A method that keeps functions: which of its arguments these are (negative: from the end). */
function carryArguments(object, name, ...positions) {
	if (object === undefined || object === null) {
		return;
	}
	replace(object, name, (original) => function () {
		const args = Array.prototype.slice.call(arguments);
		for (const position of positions) {
			const at = position < 0 ? args.length + position : position;
			if (at < args.length) {
				args[at] = carried(args[at]);
			}
		}
		return apply(original, this, args);
	});
}

/* In place of an exported function: one that does the same by `called`. Where it was the value of its own members, that is it, too. */
function standIn(original, handler) {
	if (typeof original !== "function") {
		return undefined;
	}
	const made = new Proxy(original, handler);
	for (const name of ownKeys(original)) {
		const member = getOwnPropertyDescriptor(original, name);
		if (member.value === original && member.writable) {
			original[name] = made;
		}
	}
	const { prototype } = original;
	if (prototype && prototype.constructor === original) {
		defineProperty(prototype, "constructor", { value: made, writable: true, configurable: true });
	}
	return made;
}

/* p-limit before 4: what it exports makes functions that take jobs. (4 cannot be reached; later ones keep contexts themselves.) */
function watchLimit(pLimit) {
	return standIn(pLimit, {
		apply(target, self, args) {
			const limit = apply(target, self, args);
			return typeof limit !== "function" ? limit : new Proxy(limit, {
				apply: (limited, that, [job, ...rest]) => apply(limited, that, [carried(job), ...rest]),
			});
		},
	});
}

/*
 * p-queue, an ES module since its version 7, cannot be reached where it is loaded. But it extends the emitter of a package that
 * is not: when the first of its queues is made.
 */
function watchEmitter3(EventEmitter) {
	return standIn(EventEmitter, {
		construct(target, args, newTarget) {
			const { prototype } = newTarget;
			if (newTarget !== target && typeof prototype.onIdle === "function" && typeof prototype.addAll === "function") {
				for (let holder = prototype; holder !== target.prototype && holder !== null; holder = getPrototypeOf(holder)) {
					if (getOwnPropertyDescriptor(holder, "addAll") !== undefined && !seen.has(holder)) {
						seen.add(holder);
						carryArguments(holder, "add", 0);
					}
				}
			}
			return Reflect.construct(target, args, newTarget);
		},
	});
}

/* Options may come first. What its callbacks are called with is promised, and so theirs already. */
function watchBottleneck({ prototype }) {
	carryArguments(prototype, "schedule", 0, 1);
	carryArguments(prototype, "submit", 0, 1);
}

/* async: a queue keeps its tasks as objects in a list, takes as many as its worker gets at once, and calls that. */
function carryTasks(original) {
	return function (worker) {
		const taken = [];
		const args = Array.prototype.slice.call(arguments);
		if (typeof worker === "function") {
			args[0] = new Proxy(worker, {
				apply(target, self, given) {
					const owners = taken.splice(0);
					return owners.length === 0 ? apply(target, self, given) : runIn(ownerOf(owners), target, self, given);
				},
			});
		}
		const queue = apply(original, this, args);
		const tasks = queue._tasks;
		if (tasks) {
			for (const name of ["push", "unshift"]) {
				replace(tasks, name, (add) => function (task) {
					const store = storage.getStore();
					attach(task, store === undefined ? null : store);
					task.callback = carried(task.callback);
					return apply(add, this, arguments);
				});
			}
			replace(tasks, "shift", (shift) => function () {
				const task = apply(shift, this, arguments);
				if (task) {
					taken.push(Attach.get(task));
				}
				return task;
			});
		}
		return queue;
	};
}

/* For whom is done what is done for all of these at once? */
function ownerOf(owners) {
	return owners.every((owner) => owner === owners[0]) && owners[0] ? owners[0] : null;
}

function watchAsync(exports) {
	for (const holder of [exports, exports.default]) {
		for (const name of holder ? ["queue", "priorityQueue", "cargo", "cargoQueue"] : []) {
			replace(holder, name, carryTasks);
		}
	}
}

/*
 * fastq keeps values in the order in which it calls its worker for them: here are their owners, in the same order. A value
 * that is not the next one is a sign that the order is another than we think, and from then on they are nobody's.
 */
function carryInOrder(target, self, args) {
	const at = typeof args[0] === "function" ? 0 : 1;
	const waiting = [];
	let adding;
	let lost = typeof args[at] !== "function";
	const given = [...args];
	if (!lost) {
		given[at] = new Proxy(args[at], {
			apply(worker, that, values) {
				const entry = adding === undefined ? waiting.shift() : adding;
				if (entry === adding) {
					waiting.splice(waiting.indexOf(entry), 1);
					adding = undefined;
				}
				lost ||= entry === undefined || !Object.is(entry.value, values[0]);
				return runIn(lost ? null : entry.store, worker, that, values);
			},
		});
	}
	const queue = apply(target, self, given);
	for (const name of ["push", "unshift"]) {
		replace(queue, name, (add) => function (value, done) {
			adding = { value, store: storage.getStore() };
			waiting[name](adding);
			try {
				return apply(add, this, arguments.length < 2 ? arguments : [value, carried(done)]);
			} finally {
				adding = undefined;
			}
		});
	}
	for (const name of ["kill", "killAndDrain", "abort"]) {
		replace(queue, name, (end) => function () {
			waiting.length = 0;
			return apply(end, this, arguments);
		});
	}
	return queue;
}

function watchFastq(fastq) {
	replace(fastq, "promise", (original) => function () {
		return carryInOrder(original, this, arguments);
	});
	return standIn(fastq, { apply: carryInOrder });
}

/* A loader that requests share loads for several of them at once: then it does so for nobody. */
function watchDataLoader({ prototype }) {
	replace(prototype, "load", (original) => function load() {
		if (!Attach.has(this)) {
			attach(this, null);
			replace(this, "_batchLoadFn", (batchLoad) => function (keys) {
				const owners = Attach.get(keys);
				return owners === undefined ? apply(batchLoad, this, arguments) : runIn(ownerOf(owners), batchLoad, this, arguments);
			});
		}
		const result = apply(original, this, arguments);
		const keys = this._batch && this._batch.keys;
		if (keys) {
			if (!Attach.has(keys)) {
				attach(keys, []);
			}
			const owners = Attach.get(keys);
			if (owners.length < keys.length) {
				owners.push(storage.getStore());
			}
		}
		return result;
	});
}

/*
 * bluebird calls what waits for its promises out of a queue that all share, in the name of whoever came first. It can bind
 * itself (its option asyncHooks), but has to be told. Of its own handlers it knows one by its identity.
 */
function watchBluebird(Bluebird) {
	const { prototype } = Bluebird;
	let known;
	apply(prototype.reflect, { _then: (handler) => (known = handler) }, []);
	const later = (handler) => {
		if (typeof handler !== "function" || handler === known || words[REQUESTS] === 0) {
			return handler;
		}
		const store = storage.getStore();
		return function () {
			return runIn(store, handler, this, arguments);
		};
	};
	replace(prototype, "_then", (original) => function (fulfilled, rejected, progressed, receiver, data) {
		return apply(original, this, [later(fulfilled), later(rejected), progressed, receiver, data]);
	});
	/* Where a function is kept for more than one call: map, reduce, join. */
	replace(Bluebird, "_getContext", (original) => function () {
		const context = apply(original, this, arguments);
		if (words[REQUESTS] === 0 || (context && context.async)) {
			return context;
		}
		const store = storage.getStore();
		const runInAsyncScope = (handler, self, ...args) => runIn(store, handler, self, args);
		return { domain: context ? context.domain : null, async: { runInAsyncScope } };
	});
	replace(Bluebird, "coroutine", (original) => function coroutine(work) {
		if (typeof work !== "function") {
			return apply(original, this, arguments);
		}
		const start = (target, self, args) => {
			const steps = apply(target, self, args);
			const store = storage.getStore();
			const step = (name) => typeof steps[name] !== "function" ? undefined : (value) => runIn(store, steps[name], steps, [value]);
			return { next: step("next"), throw: step("throw"), return: step("return") };
		};
		return apply(original, this, [new Proxy(work, { apply: start }), ...Array.prototype.slice.call(arguments, 1)]);
	});
}

/*
 * A channel of gRPC keeps calls until it knows its service's addresses, and again until it is connected; whoever brought that about makes
 * them all then.
 */
function watchGrpc({ Channel }) {
	const keep = { __proto__: null, queueCallForConfig: ["getConfig", "reportResolverError"], queueCallForPick: ["doPick"] };
	replace(Channel && Channel.prototype, "createCall", (original) => function createCall() {
		const channel = this.internalChannel && getPrototypeOf(this.internalChannel);
		if (channel && !Attach.has(channel)) {
			attach(channel, null);
			for (const name of ownKeys(keep)) {
				replace(channel, name, (queue) => function (call) {
					carryMethods(call, keep[name]);
					return apply(queue, this, arguments);
				});
			}
		}
		return apply(original, this, arguments);
	});
}

/* Called for whoever has the object kept first. */
function carryMethods(object, names) {
	if (Attach.has(object)) {
		return;
	}
	const store = storage.getStore();
	attach(object, null);
	for (const name of names) {
		replace(object, name, (original) => function () {
			return runIn(store === undefined ? null : store, original, this, arguments);
		});
	}
}

/* lru-memoizer (under jwks-rsa): what it makes of a function calls all who ask while that is at work, when it is done. */
function watchMemoizer(memoizer) {
	return standIn(memoizer, {
		apply(target, self, args) {
			const memoized = apply(target, self, args);
			return new Proxy(memoized, {
				apply: (called, that, given) => apply(called, that, [...given.slice(0, -1), ...given.slice(-1).map(carried)]),
			});
		},
	});
}

/* Frameworks that answer a request that failed first, and say what it failed of then: Express (and connect), and Nest. */
function watchFinalHandler(finalhandler) {
	return standIn(finalhandler, {
		apply(target, self, args) {
			const [request, response, options] = args;
			const { onerror } = options || {};
			const told = { ...options, onerror: (...all) => about(request, onerror, undefined, all) };
			return apply(target, self, typeof onerror === "function" ? [request, response, told, ...args.slice(3)] : args);
		},
	});
}

function watchNest({ BaseExceptionFilter }) {
	replace(BaseExceptionFilter.prototype, "catch", (original) => function (exception, host) {
		return about(host && host.getArgByIndex(1), original, this, arguments);
	});
}

/*
 * ws compresses and expands the messages of a few connections at a time, and goes on with the next connection's from the end of one's. It
 * does so in files of its own, which have no name but this one.
 */
const files = {
	__proto__: null,
	"./permessage-deflate": (PerMessageDeflate) => carryMethodsOf(PerMessageDeflate, "decompress", "compress"),
	"./websocket": (WebSocket) => carryMethodsOf(WebSocket, "send", "ping", "pong"),
};

/* If this is a class with such methods: their callbacks come last. */
function carryMethodsOf({ prototype }, ...names) {
	if (prototype && names.every((name) => typeof prototype[name] === "function")) {
		for (const name of names) {
			carryArguments(prototype, name, -1);
		}
	}
}

/* Promises of before there were any call what waits for one from where it is settled, or out of a queue of their own. */
const carryThen = (Promised) => carryArguments(Promised && Promised.prototype, "then", 0, 1, 2);

const pools = {
	__proto__: null,
	"@grpc/grpc-js": watchGrpc,
	"@nestjs/core": watchNest,
	async: watchAsync,
	"async-lock": ({ prototype }) => carryArguments(prototype, "acquire", 1, 2),
	bluebird: watchBluebird,
	bottleneck: watchBottleneck,
	dataloader: watchDataLoader,
	eventemitter3: watchEmitter3,
	fastq: watchFastq,
	finalhandler: watchFinalHandler,
	/* Its version 2: since 3 one waits for a promise. */
	"generic-pool": ({ Pool }) => carryArguments(Pool && Pool.prototype, "acquire", 0),
	inflight: (inflight) => standIn(inflight, { apply: (target, self, [key, back]) => apply(target, self, [key, carried(back)]) }),
	"lru-memoizer": watchMemoizer,
	/* Of the connections themselves: what one brings is nobody's. */
	mysql2: ({ Pool }) => carryArguments(Pool && Pool.prototype, "getConnection", 0),
	"p-limit": watchLimit,
	"pg-pool": ({ prototype }) => carryArguments(prototype, "connect", 0),
	promise: carryThen,
	"promise-queue": ({ prototype }) => carryArguments(prototype, "add", 0),
	q(Q) {
		carryThen(Q.makePromise);
		carryArguments(Q, "nextTick", 0);
	},
	/* Its version 6: 7 is an ES module. */
	queue: ({ prototype }) => carryArguments(prototype, "push", 0),
	rsvp: ({ Promise: Promised }) => carryThen(Promised),
	semaphore: (semaphore) => standIn(semaphore, {
		apply(target, self, args) {
			const made = apply(target, self, args);
			carryArguments(made, "take", 0, 1);
			return made;
		},
	}),
	when: ({ Promise: Promised }) => carryThen(Promised),
};

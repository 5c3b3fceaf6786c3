/*
 * When what is watched: at the start what costs nothing, the rest when it is loaded or when the first connection comes.
 */

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
		/* Sockets of pools are nobody's. Where fetch was the first to want TLS, this one was made already. */
		replace(net.Socket.prototype, "connect", (original) => function connect() {
			if (this.encrypted === true && storage.getStore() !== undefined && !seen.has(require("tls"))) {
				watchOnce(watchTls, require("tls"));
				bindOwnEmit(this, null);
			}
			return runIn(null, original, this, arguments);
		});
		watchServers(http);
		watchResponses(http);
		watchCalls(http);
		if (isTraced) {
			watchSpans(http);
		}
		watchFileStreams(require("fs").WriteStream);
		watchOnce(watchStreams, require("stream"));
		watchPassThrough(require("stream").PassThrough, require("fs").WriteStream);
		watchOnce(watchChildren, require("child_process"));
		/* An ES module that imports one of these does not come by _load. */
		for (const name of ["http2", "tls", "dgram", "zlib", "perf_hooks"]) {
			if (process.moduleLoadList.includes("NativeModule " + name)) {
				watchOnce(loaders[name], require(name));
			}
		}
		if (process.moduleLoadList.includes("NativeModule worker_threads")) {
			watchOnce(watchPorts, require("worker_threads").MessagePort);
		}
		watchGlobals();
		replace(AsyncLocalStorage, "bind", (original) => function bind() {
			return bindExplicitly(original, this, arguments);
		});
		replace(AsyncLocalStorage, "snapshot", (original) => function snapshot() {
			const request = known();
			const taken = bindExplicitly(original, this, arguments);
			return request === undefined ? taken : callForOwner(taken, request);
		});
	} catch {
		/* What was not replaced is as it was. */
	}
}

/* What the program has without loading it. Before Node 22 it is made when it is first looked at. */
function watchGlobals() {
	watchGlobal("PerformanceObserver", watchObservers);
	watchGlobal("MessagePort", watchPorts);
	for (const name of ["MessageChannel", "BroadcastChannel"]) {
		const { get } = getOwnPropertyDescriptor(globalThis, name) || {};
		if (get !== undefined) {
			watchGlobal(name, () => watchOnce(watchPorts, require("worker_threads").MessagePort));
		}
	}
}

function watchGlobal(name, watch) {
	const descriptor = getOwnPropertyDescriptor(globalThis, name);
	const look = (made) => typeof made === "function" && watchOnce(watch, made);
	if (descriptor !== undefined && descriptor.get !== undefined && descriptor.configurable) {
		replaceGetter(globalThis, name, descriptor, look);
	} else if (descriptor !== undefined) {
		look(descriptor.value);
	}
}

function bindExplicitly(original, self, args) {
	const request = known();
	return request === undefined ?
		apply(original, self, args) :
		storage.run(explicit(request), apply, original, self, args);
}

/*
 * A snapshot is also taken to get away from all requests, once, when it is needed for the first time: by one of them. So it is about that one
 * while nobody else calls it: what another request has called by it is the work of neither.
 */
function callForOwner(taken, request) {
	return new Proxy(taken, {
		apply(target, self, args) {
			const store = storage.getStore();
			const call = args[0];
			if (store === undefined || (store.of || store) === request || typeof call !== "function") {
				return apply(target, self, args);
			}
			return apply(target, self, [(...given) => runIn(null, call, undefined, given), ...args.slice(1)]);
		},
	});
}

/* A child that is started for a request gets its trace in the environment: the native side does that, once it is named. */
function watchChildren(child_process) {
	const inName = (original) => function () {
		return named(original, this, arguments);
	};
	replace(child_process.ChildProcess.prototype, "spawn", (original) => function spawn() {
		const result = named(original, this, arguments);
		try {
			watchChild(this);
		} catch {
			/* Its events are told as they come. */
		}
		return result;
	});
	for (const name of ["spawnSync", "execSync", "execFileSync"]) {
		replace(child_process, name, inName);
	}
}

function watchPerformance({ PerformanceObserver }) {
	watchOnce(watchObservers, PerformanceObserver);
}

/* It has loaded tls. */
function watchHttps() {
	watchOnce(watchTls, require("tls"));
}

/* A worker with an environment or options of its own reads these instead of ours: it is invited by hand. */
function watchWorkers(threads) {
	const { Worker, MessagePort } = threads;
	watchOnce(watchPorts, MessagePort);
	const made = new Proxy(Worker, {
		construct(target, args, newTarget) {
			const options = args[1] || {};
			threads.setEnvironmentData(READ_BY_PARENT, (options.stdout ? 1 << 1 : 0) | (options.stderr ? 1 << 2 : 0));
			try {
				return watched(Reflect.construct(target, invited(args), newTarget));
			} finally {
				threads.setEnvironmentData(READ_BY_PARENT, undefined);
			}
		},
	});
	defineProperty(Worker.prototype, "constructor", { value: made, writable: true, configurable: true });
	/* Those who import it have the original: to tell them of this one would tell them of whatever the program itself replaced, too. */
	defineProperty(threads, "Worker", { value: made, writable: true, configurable: true, enumerable: true });
}

function watched(worker) {
	try {
		watchWorker({ worker });
	} catch {
		/* It is as it was. */
	}
	return worker;
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

const NODE_MODULES = "/node_modules/";
const loaders = {
	__proto__: null,
	"readable-stream"(streams) {
		watchOnce(watchStreams, streams.Writable === require("stream").Writable ? require("stream") : streams);
		watchPassThrough(streams.PassThrough, require("fs").WriteStream);
	},
	"sonic-boom": watchSonicBoom,
	"thread-stream": watchThreadStream,
	worker_threads: watchWorkers,
	"node:worker_threads": watchWorkers,
	"http2-wrapper": watchHttp2Wrapper,
	undici: watchUndiciPools,
	http2: watchHttp2,
	"node:http2": watchHttp2,
	tls: watchTls,
	"node:tls": watchTls,
	https: watchHttps,
	"node:https": watchHttps,
	dgram: watchDatagrams,
	"node:dgram": watchDatagrams,
	zlib: watchZlib,
	"node:zlib": watchZlib,
	perf_hooks: watchPerformance,
	"node:perf_hooks": watchPerformance,
	/* Before the program takes functions out of it. */
	child_process: watchChildren,
	"node:child_process": watchChildren,
};
const seen = new Set();

/* undefined, or what is to stand in place of these exports. */
function watchOnce(watch, exports) {
	if (seen.has(exports)) {
		return undefined;
	}
	seen.add(exports);
	try {
		return watch(exports);
	} catch {
		return undefined; // it is as it was
	}
}

/* A module is loaded by its name, or by its path where an ES module imports it: then the name is in that. */
function nameOfModule(request) {
	const at = request[0] === "/" ? request.lastIndexOf(NODE_MODULES) : -1;
	if (at < 0) {
		return request;
	}
	const from = at + NODE_MODULES.length;
	const slash = request.indexOf("/", request[from] === "@" ? request.indexOf("/", from) + 1 : from);
	return slash < 0 ? request : request.slice(from, slash);
}

/* Do this when the program puts a value into that property, which is as if nobody had looked then. */
function whenSet(object, name, enumerable, call) {
	const before = object[name];
	defineProperty(object, name, {
		configurable: true,
		enumerable,
		get: () => before,
		set(value) {
			defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
			call(value);
		},
	});
}

/*
 * What a module exports is replaced when it has run, just before Node keeps it for those who import it; a module that
 * is imported is in the cache already, another one comes there first.
 */
function watchBefore(watch, Module, filename) {
	const loaded = (module) => whenSet(module, "loaded", true, () => {
		const other = watchOnce(watch, module.exports);
		if (other !== undefined) {
			seen.add(other);
			module.exports = other;
		}
	});
	const cached = Module._cache[filename];
	if (cached === undefined) {
		whenSet(Module._cache, filename, false, loaded);
	} else if (cached.loaded === false) {
		loaded(cached);
	}
}

function watchModules() {
	const Module = require("module");
	replace(Module, "_load", (original) => function _load(request, parent, isMain) {
		if (typeof request !== "string" || request[0] === ".") {
			const exports = apply(original, this, arguments); // a file of somebody's own, which has no name
			if (files[request] !== undefined && typeof exports === "function") {
				watchOnce(files[request], exports);
			}
			return exports;
		}
		const name = nameOfModule(request);
		const pool = pools[name];
		if (pool !== undefined) {
			return loadPool(pool, Module, original, this, arguments);
		}
		const exports = apply(original, this, arguments);
		const watch = loaders[name];
		if (watch !== undefined && exports) {
			watchOnce(watch, exports);
		}
		return exports;
	});
}

function loadPool(watch, Module, original, self, args) {
	let filename;
	try {
		filename = Module._resolveFilename(...args);
		watchBefore(watch, Module, filename);
	} catch {
		/* Node says what is wrong. */
	}
	try {
		return apply(original, self, args);
	} finally {
		const left = filename === undefined ? undefined : getOwnPropertyDescriptor(Module._cache, filename);
		if (left !== undefined && left.get !== undefined) {
			delete Module._cache[filename];
		}
	}
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
if (isTraced) {
	watchSpansEarly();
}
/* Not as a listener, which the program could see and take away. */
override(getPrototypeOf(process), "emit", (upper) => function emit(type) {
	if (type === "uncaughtExceptionMonitor") {
		nameCrash();
	}
	return apply(upper.emit, this, arguments);
});
subscribe("http.server.request.start", isTraced ? servedAndTraced : served);
subscribe("net.client.socket", prepare);
subscribe("worker_threads", watchWorker);
subscribe("net.server.socket", ({ socket }) => {
	prepare();
	const server = socket.server || socket._server;
	if (server && (server.listenerCount("upgrade") + server.listenerCount("connect") + server.listenerCount("stream") > 0)) {
		watchServer(server);
	}
});

/*
 * The side of libtraceshim.so that runs inside of JavaScript, where alone it is known which request the program works for.
 *
 * Node loads this file before the program's own (hooks/node.c puts it into NODE_OPTIONS), in the main thread and in workers.
 * It keeps one AsyncLocalStorage whose value is the request at hand, tells the native side whose the log bytes are that are
 * about to be written, and asks it for the head lines of outgoing calls. Everything that has to do with ids, records and
 * configuration is native. See DESIGN.md, 'Node'.
 *
 * Rules. It fails open: whatever goes wrong in here, the program goes on as if this file were not there. Nothing that it
 * does can be seen by the program without looking for it: requests are attached to objects by private fields, wrappers keep
 * names and lengths. A module of Node's that the program has not loaded is not loaded by us until the first connection.
 * All but this first part is compiled as code of the engine's own, where that can be: no stack shows calls of that (node_addon.c, compile).
 *
 * What may be believed. AsyncLocalStorage follows the flow of promises, timers and operations, and that is right as long as a
 * program hands work over through these. It is wrong where a program keeps callbacks in a queue of its own and runs the next
 * one's from the end of the last one's. So a request's context counts
 * - while its response is not ended, unless this program was seen to end one request's response in another one's context;
 * - afterwards, if none other waited when it came and none has come since, and in what its response tells its listeners;
 * - always where the program said so itself (AsyncLocalStorage.bind or .snapshot: Next.js' after() does).
 * Sockets that the program opens belong to no request: they are pooled, and their callbacks are anybody's.
 */
"use strict";

/* Take the invitation out of the environment: the program and its children see what the user set. */
function restoreEnvironment() {
	const rest = /^--require "(?:[^"\\]|\\.)*traceshim\.cjs"( ?)([^]*)$/.exec(process.env.NODE_OPTIONS);
	if (rest === null) {
		return;
	}
	if (rest[1] === "") {
		delete process.env.NODE_OPTIONS;
	} else {
		process.env.NODE_OPTIONS = rest[2];
	}
}

/* Nor does it see what was loaded before it. The list itself is being walked: it gets another. */
function hideCompanion() {
	const { _cache, _pathCache } = module.constructor;
	delete _cache[__filename];
	for (const key of Object.keys(_pathCache)) {
		if (_pathCache[key] === __filename) {
			delete _pathCache[key];
		}
	}
	const preloaded = process._preload_modules;
	if (Array.isArray(preloaded)) {
		const { enumerable } = Reflect.getOwnPropertyDescriptor(process, "_preload_modules");
		const value = preloaded.filter((name) => !name.endsWith("/traceshim.cjs"));
		Reflect.defineProperty(process, "_preload_modules", { value, enumerable, writable: false, configurable: true });
	}
}

function openNative() {
	const addon = { exports: {} };
	process.dlopen(addon, __dirname + "/libtraceshim.so");
	return addon.exports.call === undefined ? undefined : addon.exports;
}

/* The other parts stand below, behind two slashes each line: they are parsed once, as what they are going to be. */
function textOfRest() {
	const text = String(rest);
	return '(function (native, require, __filename) { "use strict";' + text.slice(text.indexOf("{") + 1).replace(/^\/\//gm, "") + ")";
}

function compileSeen(text) {
	const { Script } = require("vm");
	return new Script(text, { filename: __filename }).runInThisContext();
}

try {
	restoreEnvironment();
	hideCompanion();
	const native = openNative();
	if (native !== undefined) {
		(native.compile(textOfRest()) || compileSeen(textOfRest()))(native, require, __filename);
	}
} catch {
	/* Without us, then. */
}

"use strict";
// What people write who thread an AsyncLocalStorage through their program by hand.
const { AsyncLocalStorage } = require("node:async_hooks");
const { randomBytes } = require("node:crypto");

const storage = new AsyncLocalStorage();
const TRACEPARENT = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

function traceIdOf(req) {
	return TRACEPARENT.exec(req.headers.traceparent)?.[1] ?? randomBytes(16).toString("hex");
}

function log(message) {
	const timestamp = new Date().toISOString();
	process.stdout.write(JSON.stringify({ timestamp, level: "info", message, traceId: storage.getStore() }) + "\n");
}

module.exports = {
	log,
	handled: (handler) => (req, res) => storage.run(traceIdOf(req), handler, req, res),
};

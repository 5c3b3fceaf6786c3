/*
 * A program that patches Node's classes while it runs, as instrumentation does: above inherited methods, and methods
 * themselves, by assignment, by subclass, by instance.
 */
"use strict";
const { EventEmitter } = require("events");
const { Writable } = require("stream");
const http = require("http");
const { inARequest } = require("./kit");

const calls = new Map();

function count(object, name, of) {
	const original = object[name];
	object[name] = function (...args) {
		const key = of + "." + name + " of " + (this === process.stdout ? "stdout" : this.constructor.name);
		calls.set(key, (calls.get(key) || 0) + 1);
		return original.apply(this, args);
	};
	return () => {
		object[name] = original;
	};
}

function patchAll() {
	return [
		count(EventEmitter.prototype, "emit", "EventEmitter"),
		count(Writable.prototype, "write", "Writable"),
		count(http.OutgoingMessage.prototype, "end", "OutgoingMessage"),
		count(http.OutgoingMessage.prototype, "write", "OutgoingMessage"),
		count(http.ServerResponse.prototype, "writeHead", "ServerResponse"),
		count(http.ClientRequest.prototype, "onSocket", "ClientRequest"),
	];
}

function ask(server, then) {
	const options = { port: server.address().port, host: "127.0.0.1", agent: false };
	http.get(options, (answer) => answer.resume().on("close", then));
}

function told() {
	return [...calls].map(([key, times]) => key + ": " + times).sort().join("\n") + "\n";
}

class Response extends http.ServerResponse {
	end(...args) {
		console.log("a subclass ends", args.length);
		return super.end(...args);
	}
}

/* The first request comes before the patches, the second after. */
inARequest(() => new Promise((resolve) => {
	const undo = patchAll();
	const server = http.createServer({ ServerResponse: Response }, (request, response) => {
		const { end } = response;
		response.end = function (...args) {
			console.log("an instance ends", args.length);
			return end.apply(this, args);
		};
		response.write("some");
		response.end("more");
	});
	server.listen(0, "127.0.0.1", () => ask(server, () => {
		server.close(() => {
			for (const back of undo) {
				back();
			}
			process.stdout.write(told());
			resolve();
		});
	}));
}));

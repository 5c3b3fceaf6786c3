/*
 * Requests of every fate: answered, logging after their end, given up by the client, never answered, cut, upgraded, and
 * those of HTTP/2. Says for which of them the heap goes on growing. To be run with --expose-gc.
 */
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const net = require("net");

const ROUNDS = 4;
const REQUESTS = 1200; // a round
const AT_ONCE = 20;
const ROOM = 100; // bytes a request that are not noticed: one that is kept has several times that

const server = http.createServer((request, response) => {
	console.log("served", request.url);
	const fates = {
		"/answered": () => response.end("answer"),
		"/late": () => {
			response.end();
			setTimeout(() => console.log("late"), 2);
		},
		"/given-up": () => {},
		"/never": () => setTimeout(() => request.socket.destroy(), 2),
		"/cut": () => {
			response.write("some");
			setTimeout(() => response.destroy(), 2);
		},
	};
	fates[request.url]();
});
server.on("upgrade", (request, socket) => {
	console.log("upgraded");
	socket.on("error", () => {});
	socket.end("HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
});

const server2 = http2.createServer();
server2.on("stream", (stream, headers) => {
	console.log("streamed");
	stream.on("error", () => {});
	if (headers[":path"] === "/cut") {
		stream.close(http2.constants.NGHTTP2_CANCEL);
	} else {
		stream.respond();
		stream.end("answer");
	}
});

const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });

function get(path) {
	return new Promise((resolve) => {
		const options = { port: server.address().port, host: "127.0.0.1", agent, path };
		const call = http.get(options, (answer) => answer.on("error", resolve).on("close", resolve).resume());
		call.on("error", resolve);
		if (path === "/given-up") {
			setTimeout(() => call.destroy(), 2);
		}
	});
}

function upgrade() {
	return new Promise((resolve) => {
		const socket = net.connect(server.address().port, "127.0.0.1");
		socket.on("error", resolve).on("close", resolve).resume();
		socket.write("GET /up HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
	});
}

function stream(session, path) {
	return new Promise((resolve) => {
		session.request({ ":path": path }).on("error", () => {}).on("close", resolve).resume();
	});
}

async function heapAfter(fate) {
	let left = REQUESTS;
	await Promise.all(Array.from({ length: AT_ONCE }, async () => {
		while (left-- > 0) {
			await fate();
		}
	}));
	// On a loaded machine connections take their time to be closed: look until there is nothing more to let go.
	let least = Infinity;
	for (let again = 0; again < 3; again++) {
		await new Promise((resolve) => {
			setTimeout(resolve, 20);
		});
		global.gc();
		global.gc();
		const now = process.memoryUsage().heapUsed;
		if (now < least - 1024) {
			least = now;
			again = 0;
		}
	}
	return least;
}

async function main() {
	const session = http2.connect("http://127.0.0.1:" + server2.address().port);
	const paths = ["/answered", "/late", "/given-up", "/never", "/cut"];
	const fates = paths.map((path) => [path, () => get(path)]);
	fates.push(["upgraded", upgrade]);
	fates.push(["HTTP/2", () => stream(session, "/")]);
	fates.push(["HTTP/2 cut", () => stream(session, "/cut")]);
	await heapAfter(fates[0][1]); // what is made once
	for (const [name, fate] of fates) {
		const sizes = [];
		for (let round = 0; round < ROUNDS; round++) {
			sizes.push(await heapAfter(fate));
		}
		const grown = sizes[ROUNDS - 1] - sizes[0];
		fs.writeSync(2, name + (grown < ROOM * REQUESTS * (ROUNDS - 1) ? " lets go\n" : " keeps " + grown + " bytes\n"));
	}
	process.exit();
}

server.listen(0, "127.0.0.1", () => server2.listen(0, "127.0.0.1", main));

"use strict";
/*
 * What outgoing calls reach: HTTP/1 on PORT and with TLS on PORT + 1, HTTP/2 on PORT + 2 and with TLS on PORT + 3. Each call
 * becomes a line of FILE, in the form that `tests/preload/attribution calls` judges.
 *
 *   node peer.js PORT FILE
 *
 * /redirect sends the caller to /target, and /again fails at the first call with a number and answers the second.
 */
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");

const port = Number(process.argv[2]);
const file = fs.openSync(process.argv[3], "a");
const tls = { key: fs.readFileSync(process.env.TLS_KEY), cert: fs.readFileSync(process.env.TLS_CERT) };
const failed = new Set();

function record(request) {
	const found = /\bn=(\d+)/.exec(request.url);
	const headers = [];
	for (let i = 0; i < request.rawHeaders.length; i += 2) {
		headers.push([request.rawHeaders[i].toLowerCase(), request.rawHeaders[i + 1]]);
	}
	const n = found ? Number(found[1]) : null;
	fs.writeSync(file, `${JSON.stringify({ n, path: request.url, method: request.method, headers })}\n`);
	return n;
}

async function answer(request, response) {
	const n = record(request);
	let size = 0;
	for await (const chunk of request) size += chunk.length;
	await new Promise((done) => setTimeout(done, Math.random() * 4));
	if (request.url.startsWith("/redirect")) {
		response.writeHead(302, { location: request.url.replace("redirect", "target") }).end();
	} else if (request.url.startsWith("/again") && !failed.delete(n)) {
		failed.add(n);
		response.writeHead(503, { "retry-after": "0" }).end();
	} else {
		response.setHeader("content-type", "text/plain");
		response.end(`peer n=${n} ${size}\n`);
	}
}

const servers = [
	http.createServer(answer),
	https.createServer(tls, answer),
	http2.createServer(answer),
	http2.createSecureServer(tls, answer),
];
servers.forEach((server, i) => server.listen({ port: port + i, host: "127.0.0.1", backlog: 1024 }));

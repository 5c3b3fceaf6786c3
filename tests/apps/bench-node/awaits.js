"use strict";
// Fifty awaits a request, and one line: what following a request through promises costs.
const http = require("node:http");
const { log, handled } = require("./loggers");

const AWAITS = 50;

async function step(n) {
	return n + 1;
}

async function count(req, res) {
	let steps = 0;
	while (steps < AWAITS) steps = await step(steps);
	log(`counted ${steps} ${req.url}`);
	res.end("counted\n");
}

http.createServer(handled(count)).listen(Number(process.argv[2]), "127.0.0.1");

"use strict";
// A server that asks itself a few times, and ends: the whole of a traced program in one process without arguments.
const http = require("node:http");

const hex = (value, digits) => value.toString(16).padStart(digits, "0");
const traceOf = (n) => `7e57${hex((BigInt(n) * 2654435761n) % 2n ** 48n, 12)}${hex(n, 16)}`;

const server = http.createServer((request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	setTimeout(() => {
		console.error(`n=${n} ends`);
		response.end(`n=${n} done`);
	}, 1);
});

function ask(n) {
	if (n > 5) {
		server.close();
		return;
	}
	const headers = { traceparent: `00-${traceOf(n)}-ca11e7${hex(n, 10)}-01` };
	const options = { host: "127.0.0.1", port: server.address().port, path: `/?n=${n}`, headers, agent: false };
	http.get(options, (response) => {
		response.resume();
		response.on("end", () => ask(n + 1));
	});
}

server.listen(0, "127.0.0.1", () => ask(1));

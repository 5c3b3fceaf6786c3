// As itself.js, for a program that is ES modules only, with a top-level await.
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const hex = (value, digits) => value.toString(16).padStart(digits, "0");
const traceOf = (n) => `7e57${hex((BigInt(n) * 2654435761n) % 2n ** 48n, 12)}${hex(n, 16)}`;

const server = createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	await pause(1);
	console.error(`n=${n} ends`);
	response.end(`n=${n} done`);
});

await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
for (let n = 1; n <= 5; n++) {
	const headers = { traceparent: `00-${traceOf(n)}-ca11e7${hex(n, 10)}-01`, connection: "close" };
	const response = await fetch(`http://127.0.0.1:${server.address().port}/?n=${n}`, { headers });
	await response.text();
}
server.close();

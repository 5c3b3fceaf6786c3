"use strict";
/*
 * Requests that the plain clients of the tests do not make: over TLS, HTTP/2, and through an upgrade. Each has its number in
 * the URL and the traceparent that tests/preload/attribution makes of it.
 *
 *   node client.js https|h2c|h2|upgrade|connect PORT REQUESTS CONCURRENCY [BODY_BYTES]
 */
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");
const { traceparentOf } = require("./trace.js");

const [kind, port, requests, concurrency, bodySize = 0] = process.argv.slice(2);

const collect = (stream) =>
	new Promise((resolve, reject) => {
		let text = "";
		stream.setEncoding("utf8");
		stream.on("data", (part) => (text += part));
		stream.on("end", () => resolve(text));
		stream.on("error", reject);
	});

async function writeBody(stream) {
	const piece = "x".repeat(Math.ceil(bodySize / 3));
	for (let left = Number(bodySize); left > 0; left -= piece.length) {
		stream.write(piece.slice(0, left));
		await new Promise((done) => setTimeout(done, 1));
	}
	stream.end();
}

function overTls() {
	const agent = new https.Agent({ keepAlive: true, maxSockets: Number(concurrency), rejectUnauthorized: false });
	return {
		async ask(n) {
			const method = Number(bodySize) ? "POST" : "GET";
			const headers = { traceparent: traceparentOf(n) };
			const request = https.request({ host: "127.0.0.1", port, path: `/?n=${n}`, agent, method, headers });
			const response = new Promise((resolve, reject) => request.on("response", resolve).on("error", reject));
			await writeBody(request);
			return collect(await response);
		},
		close: () => agent.destroy(),
	};
}

function overHttp2(scheme) {
	// A few connections, each with many streams at a time.
	const sessions = [1, 2, 3].map(() => http2.connect(`${scheme}://127.0.0.1:${port}`, { rejectUnauthorized: false }));
	return {
		async ask(n) {
			const stream = sessions[n % sessions.length].request({
				":path": `/?n=${n}`,
				":method": Number(bodySize) ? "POST" : "GET",
				traceparent: traceparentOf(n),
			});
			const answer = collect(stream);
			await writeBody(stream);
			return answer;
		},
		close: () => sessions.forEach((session) => session.close()),
	};
}

// The server echoes lines on what was the HTTP connection.
function overTunnel(method) {
	return {
		ask: (n) =>
			new Promise((resolve, reject) => {
				const headers = { traceparent: traceparentOf(n) };
				if (method === "GET") Object.assign(headers, { Connection: "Upgrade", Upgrade: "lines" });
				const path = method === "GET" ? `/?n=${n}` : `n${n}.example:80`;
				const request = http.request({ host: "127.0.0.1", port, method, path, headers });
				request.on(method === "GET" ? "upgrade" : "connect", (response, socket, head) => {
					let text = String(head);
					let sent = 0;
					const next = () => {
						const lines = text.split("\n").length - 1;
						if (lines === 4) socket.end();
						else if (lines > sent) socket.write(`n=${n} line ${++sent}\n`);
					};
					socket.on("data", (data) => {
						text += data;
						next();
					});
					next();
					socket.on("close", () => resolve(text));
					socket.on("error", reject);
				});
				request.on("error", reject);
				request.end();
			}),
		close() {},
	};
}

const kinds = {
	https: overTls,
	h2c: () => overHttp2("http"),
	h2: () => overHttp2("https"),
	upgrade: () => overTunnel("GET"),
	connect: () => overTunnel("CONNECT"),
};

async function main() {
	const client = kinds[kind]();
	let next = 1;
	await Promise.all(
		Array.from({ length: Number(concurrency) }, async () => {
			while (next <= Number(requests)) {
				const n = next++;
				const text = await client.ask(n);
				if (!text.startsWith(`n=${n} `)) throw new Error(`request ${n} was answered ${JSON.stringify(text)}`);
			}
		}),
	);
	client.close();
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});

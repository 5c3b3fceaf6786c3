/*
 * A server that asks another one, with each client that Node programs use: node calls.mjs PORT PEER_PORT
 * The path of a request names the client. The peer speaks HTTP/1 on its port, with TLS on the next, then HTTP/2 without and
 * with TLS (see peer.js).
 */
import axios from "axios";
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import nodeFetch from "node-fetch";
import nodeFetch2 from "node-fetch-2";
import { Writable } from "node:stream";
import * as undici6 from "undici-6";

// These do not load on every version of Node that is served here; tests/apps/node-18 has others, where it is installed.
const modern = Number(process.versions.node.split(".")[0]) >= 20;
const older = (path) => {
	const url = new URL(`../node-18/node_modules/${path}`, import.meta.url);
	return fs.existsSync(url) ? import(url) : {};
};
const undici = modern ? await import("undici") : await older("undici/index.js");
const { got } = modern ? await import("got") : await older("got/dist/source/index.js");

const [port, peer] = process.argv.slice(2);
const at = (offset) => `127.0.0.1:${Number(peer) + offset}`;
const [plain, secure, h2c, h2] = [`http://${at(0)}`, `https://${at(1)}`, `http://${at(2)}`, `https://${at(3)}`];
const ca = process.env.TLS_CERT && fs.readFileSync(process.env.TLS_CERT);

const text = (stream) =>
	new Promise((resolve, reject) => {
		let all = "";
		stream.setEncoding("utf8");
		stream.on("data", (part) => (all += part)).on("end", () => resolve(all)).on("error", reject);
	});

function send(module, options, body) {
	return new Promise((resolve, reject) => {
		const request = module.request(options, (response) => resolve(text(response)));
		request.on("error", reject);
		if (body) request.write(body.slice(0, 3));
		setTimeout(() => request.end(body?.slice(3)), body ? 1 : 0);
	});
}

const keep = new http.Agent({ keepAlive: true, maxSockets: 3 });
const keepSecure = new https.Agent({ keepAlive: true, maxSockets: 3, ca });

const later = (make) => {
	let made;
	return () => (made ??= make());
};
const pool = later(() => new undici.Pool(plain, { connections: 2 }));
const pipelined = later(() => new undici.Client(plain, { pipelining: 4 }));
const secureAgent = later(() => new undici6.Agent({ connect: { ca } }));
const sessions = { h2c: later(() => http2.connect(h2c)), h2: later(() => http2.connect(h2, { ca })) };

function overHttp2(session, n, body) {
	const stream = session.request({ ":path": `/?n=${n}`, ":method": body ? "POST" : "GET" });
	stream.end(body);
	return text(stream);
}

const undiciText = async ({ body }) => body.text();

const clients = {
	"http-get": (n) =>
		new Promise((resolve, reject) => {
			http.get(`${plain}/?n=${n}`, (response) => resolve(text(response))).on("error", reject);
		}),
	"http-close": (n) => send(http, { port: peer, path: `/?n=${n}`, host: "127.0.0.1", agent: false }),
	"http-post": (n) =>
		send(http, { port: peer, path: `/?n=${n}`, host: "127.0.0.1", method: "POST", agent: keep }, `body of n=${n}`),
	// Headers given as a list are kept in order, and not through the header store.
	"http-raw": (n) =>
		send(http, { port: peer, path: `/?n=${n}`, host: "127.0.0.1", agent: keep, headers: ["Host", at(0), "X-A", "b"] }),
	"http-flush": (n) =>
		new Promise((resolve, reject) => {
			const request = http.request(`${plain}/?n=${n}`, { agent: keep, method: "PUT" }, (r) => resolve(text(r)));
			request.on("error", reject);
			request.setHeader("content-length", 4);
			request.flushHeaders();
			setTimeout(() => request.end("body"), 2);
		}),
	https: (n) => send(https, { port: Number(peer) + 1, path: `/?n=${n}`, host: "127.0.0.1", agent: keepSecure }),
	fetch: async (n) => (await fetch(`${plain}/?n=${n}`)).text(),
	"fetch-post": async (n) => (await fetch(`${plain}/?n=${n}`, { method: "POST", body: `body of n=${n}` })).text(),
	"fetch-secure": async (n) => (await fetch(`${secure}/?n=${n}`)).text(),
	"fetch-redirect": async (n) => (await fetch(`${plain}/redirect?n=${n}`)).text(),
	"undici-request": async (n) => undiciText(await undici.request(`${plain}/?n=${n}`)),
	"undici-stream": (n) =>
		new Promise((resolve, reject) => {
			let all = "";
			const sink = new Writable({ write: (part, encoding, done) => done(void (all += part)) });
			undici.stream(`${plain}/?n=${n}`, {}, () => sink.on("finish", () => resolve(all))).catch(reject);
		}),
	"undici-pool": async (n) => undiciText(await pool().request({ path: `/?n=${n}`, method: "POST", body: "body" })),
	"undici-pipeline": async (n) => undiciText(await pipelined().request({ path: `/?n=${n}`, method: "GET" })),
	"undici-fetch": async (n) => (await undici.fetch(`${plain}/?n=${n}`)).text(),
	"undici-6": async (n) => undiciText(await undici6.request(`${secure}/?n=${n}`, { dispatcher: secureAgent() })),
	axios: async (n) => (await axios.get(`${plain}/?n=${n}`)).data,
	"axios-fetch": async (n) => (await axios.post(`${plain}/?n=${n}`, "body", { adapter: "fetch" })).data,
	"axios-redirect": async (n) => (await axios.get(`${plain}/redirect?n=${n}`)).data,
	"node-fetch": async (n) => (await nodeFetch(`${plain}/?n=${n}`)).text(),
	"node-fetch-2": async (n) => (await nodeFetch2(`${plain}/?n=${n}`, { agent: keep })).text(),
	got: async (n) => got(`${plain}/?n=${n}`).text(),
	"got-retry": async (n) =>
		got(`${plain}/again?n=${n}`, {
			retry: { limit: 2, calculateDelay: ({ attemptCount }) => (attemptCount > 2 ? 0 : 1) },
		}).text(),
	"got-http2": async (n) => got(`${h2}/?n=${n}`, { http2: true, https: { certificateAuthority: ca } }).text(),
	h2c: (n) => overHttp2(sessions.h2c(), n),
	h2: (n) => overHttp2(sessions.h2(), n, `body of n=${n}`),
	// A program that passes its caller's trace on by itself.
	"own-http": (n, headers) => send(http, { port: peer, path: `/?n=${n}`, host: "127.0.0.1", agent: keep, headers }),
	"own-raw": (n, { traceparent }) =>
		send(http, {
			port: peer,
			path: `/?n=${n}`,
			host: "127.0.0.1",
			agent: keep,
			headers: ["Host", at(0), "Traceparent", traceparent],
		}),
	"own-fetch": async (n, headers) => (await fetch(`${plain}/?n=${n}`, { headers })).text(),
	"own-undici": async (n, headers) => undiciText(await undici.request(`${plain}/?n=${n}`, { headers })),
	"own-h2c": (n, headers) => text(sessions.h2c().request({ ":path": `/?n=${n}`, TraceParent: headers.traceparent })),
};

const server = http.createServer(async (request, response) => {
	const { pathname, searchParams } = new URL(request.url, "http://localhost");
	const n = Number(searchParams.get("n"));
	console.log(`n=${n} begins`);
	await new Promise((done) => setTimeout(done, Math.random() * 8));
	const answer = await clients[pathname.slice(1)](n, { traceparent: request.headers.traceparent });
	console.log(`n=${n} was told: ${String(answer).trim()}`);
	response.end(`n=${n} done\n`);
});
server.listen(Number(port), "127.0.0.1", 1024);

/*
 * A server whose answers, and calls, end in every way that there is: node spans.mjs PORT DEAD_PORT PEER_PORT
 * The path says how; PEER_PORT is a port on which it opens a peer of its own, which misbehaves likewise. Nothing listens on DEAD_PORT.
 */
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";

const [port, dead, peer] = process.argv.slice(2).map(Number);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const text = async (stream) => {
	let all = "";
	for await (const part of stream) all += part;
	return all;
};

// How a call went, as a word.
const outcome = (call) => call.then((said) => `said ${said}`, (error) => `failed ${error.cause?.code ?? error.code ?? error.name}`);

const request = (options) =>
	new Promise((resolve, reject) => {
		const made = http.get({ host: "127.0.0.1", agent: false, ...options }, (response) => text(response).then(resolve, reject));
		made.on("timeout", () => made.destroy(new Error("too slow"))).on("error", reject);
	});

const answers = {
	"/plain": (n, response) => response.end(`n=${n} plain\n`),
	"/none": (n, response) => response.writeHead(304).end(),
	"/empty": (n, response) => response.writeHead(204).end(),
	"/missing": (n, response) => response.writeHead(404).end(`n=${n}\n`),
	"/broken": (n, response) => response.writeHead(500).end(`n=${n}\n`),
	"/early": async (n, response) => {
		response.writeEarlyHints?.({ link: "</style.css>; rel=preload; as=style" });
		await pause(2);
		response.end(`n=${n} early\n`);
	},
	"/stream": async (n, response) => {
		response.write(`n=${n} begins\n`);
		await pause(30);
		response.end("ends\n");
	},
	"/large": (n, response) => response.end(`n=${n} `.padEnd(8 << 20, "x")),
	"/drop": (n, response) => response.socket.destroy(),
	"/cut": async (n, response) => {
		response.writeHead(200, { "content-length": 100 });
		response.write(`n=${n} begins\n`);
		await pause(5);
		response.destroy();
	},
	"/silent": () => {}, // until the client leaves
	"/refused": async (n, response) => response.end(`n=${n} ${await outcome(request({ port: dead, path: `/?n=${n}` }))}\n`),
	"/refused-fetch": async (n, response) =>
		response.end(`n=${n} ${await outcome(fetch(`http://127.0.0.1:${dead}/?n=${n}`))}\n`),
	"/timeout": async (n, response) =>
		response.end(`n=${n} ${await outcome(request({ port: peer, path: `/silent?n=${n}`, timeout: 30 }))}\n`),
	"/timeout-fetch": async (n, response) =>
		response.end(`n=${n} ${await outcome(fetch(`http://127.0.0.1:${peer}/silent?n=${n}`, { signal: AbortSignal.timeout(30) }))}\n`),
	"/aborted": async (n, response) => {
		const control = new AbortController();
		const call = request({ port: peer, path: `/silent?n=${n}`, signal: control.signal });
		setTimeout(() => control.abort(), 10);
		response.end(`n=${n} ${await outcome(call)}\n`);
	},
	"/dropped": async (n, response) => response.end(`n=${n} ${await outcome(request({ port: peer, path: `/drop?n=${n}` }))}\n`),
	"/cut-call": async (n, response) => response.end(`n=${n} ${await outcome(request({ port: peer, path: `/cut?n=${n}` }))}\n`),
	"/failing": async (n, response) => response.end(`n=${n} ${await outcome(request({ port: peer, path: `/broken?n=${n}` }))}\n`),
	"/head-only": async (n, response) => {
		// Whoever has seen the head, and wants no more.
		const made = http.get({ host: "127.0.0.1", port: peer, path: `/stream?n=${n}`, agent: false }, (answer) => {
			answer.destroy();
			response.end(`n=${n} ${answer.statusCode}\n`);
		});
		made.on("error", () => {});
	},
	"/upgrade-call": (n, response) => {
		const made = http.get({ host: "127.0.0.1", port: peer, path: `/?n=${n}`, agent: false, headers: { connection: "upgrade", upgrade: "lines" } });
		made.on("upgrade", (answer, socket) => {
			socket.destroy();
			response.end(`n=${n} ${answer.statusCode}\n`);
		});
	},
	"/stream-call": async (n, response) => {
		const session = http2.connect(`http://127.0.0.1:${peer + 1}`);
		const stream = session.request({ ":path": `/?n=${n}` });
		const [head] = await new Promise((resolve) => stream.on("response", (...all) => resolve(all)));
		await text(stream);
		session.close();
		response.end(`n=${n} ${head[":status"]}\n`);
	},
};

function answer({ url }, response) {
	const { pathname, searchParams } = new URL(url, "http://localhost");
	console.log(`n=${searchParams.get("n")} ${pathname}`);
	answers[pathname](searchParams.get("n"), response);
}

// The peer is bare of ids: what comes to it is looked at in the calls' own spans.
const misbehaving = http.createServer(answer).on("upgrade", (message, socket) => {
	socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n");
});
const streams = http2.createServer((message, response) => response.writeHead(418).end("no coffee"));
misbehaving.listen(peer, "127.0.0.1", () => {
	streams.listen(peer + 1, "127.0.0.1", () => {
		http.createServer({ keepAliveTimeout: 60000 }, answer).listen(port, "127.0.0.1", 1024);
	});
});
// A server that is not HTTP leaves no span.
net.createServer((socket) => socket.end("not HTTP\n")).listen(peer + 2, "127.0.0.1");

"use strict";
// A server on Node's own modules, by callback and by promise: node server.js PORT [http|https|h2c|h2|h2stream]
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");
const { work, pause } = require("./work.js");

const [port, kind = "http"] = process.argv.slice(2);
const tls = () => ({ key: fs.readFileSync(process.env.TLS_KEY), cert: fs.readFileSync(process.env.TLS_CERT) });

const numberOf = (path) => Number(new URL(path, "http://localhost").searchParams.get("n"));

async function answer(request, response) {
	const n = numberOf(request.url);
	const say = (text) => console.log(`n=${n} ${text}`);
	say(`${request.method} begins`);
	let size = 0;
	if (n % 2) {
		request.on("data", (chunk) => {
			say(`piece of ${chunk.length > 0}`);
			size += chunk.length;
		});
		await new Promise((done) => request.on("end", done));
	} else {
		for await (const chunk of request) size += chunk.length;
	}
	say(`body of ${size}`);
	await work(n, say);
	response.on("finish", () => console.error(`n=${n} finish`));
	response.on("close", () => console.error(`n=${n} close`));
	response.setHeader("content-type", "text/plain");
	if (n % 3 === 0) {
		response.write(`n=${n} `);
		await new Promise((done) => setTimeout(done, pause()));
		say("between two writes");
	}
	// What a request leaves behind.
	setTimeout(() => console.error(`n=${n} late`), pause() * 3);
	say("ends");
	response.end(`n=${n} ${size}\n`);
}

function answerStream(stream, headers) {
	const n = numberOf(headers[":path"]);
	const say = (text) => console.log(`n=${n} ${text}`);
	say(`${headers[":method"]} begins`);
	let size = 0;
	stream.on("data", (chunk) => (size += chunk.length));
	stream.on("close", () => console.error(`n=${n} close`));
	stream.on("end", () => {
		say(`body of ${size}`);
		work(n, say).then(() => {
			setTimeout(() => console.error(`n=${n} late`), pause() * 3);
			say("ends");
			stream.respond({ ":status": 200 });
			stream.end(`n=${n} ${size}\n`);
		});
	});
}

const servers = {
	http: () => http.createServer({ keepAliveTimeout: 30000 }, answer),
	https: () => https.createServer(tls(), answer),
	h2c: () => http2.createServer(answer),
	h2: () => http2.createSecureServer({ ...tls(), allowHTTP1: true }, answer),
	h2stream: () => http2.createServer().on("stream", answerStream),
};

servers[kind]().listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 }, () => console.log(`listening`));
// Work that belongs to no request.
setInterval(() => console.log("tick"), 20).unref();

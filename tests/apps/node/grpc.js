"use strict";
/*
 * Calls of gRPC, by channels that requests share and that are made anew now and then: node grpc.js PORT BEHIND
 * What they reach: node grpc.js PORT FILE behind. Each call becomes a line of FILE, in the form that `tests/preload/attribution calls` judges.
 */
const fs = require("node:fs");
const http = require("node:http");
const grpc = require("@grpc/grpc-js");

const [port, other, behind] = process.argv.slice(2);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.random() * ms));
const toBytes = (value) => Buffer.from(JSON.stringify(value));
const toValue = (bytes) => JSON.parse(bytes);
const service = {
	Ask: {
		path: "/demo.Numbers/Ask",
		requestStream: false,
		responseStream: false,
		requestSerialize: toBytes,
		requestDeserialize: toValue,
		responseSerialize: toBytes,
		responseDeserialize: toValue,
	},
};

function answer({ request, metadata }, done) {
	const headers = metadata.get("traceparent").map((value) => ["traceparent", value]);
	fs.appendFileSync(other, `${JSON.stringify({ n: request.n, path: service.Ask.path, method: "POST", headers })}\n`);
	setTimeout(done, Math.random() * 10, null, request);
}

const Numbers = grpc.makeGenericClientConstructor(service, "demo.Numbers");
let client;

async function ask(n) {
	console.log(`n=${n} begins`);
	await pause(3);
	if (client === undefined || n % 20 === 0) {
		client = new Numbers(`localhost:${other}`, grpc.credentials.createInsecure());
	}
	const result = await new Promise((resolve, reject) =>
		client.Ask({ n }, (error, value) => {
			console.log(`n=${n} has its answer`);
			(error ? reject : resolve)(error || value);
		}));
	console.log(`n=${n} ends: ${result.n}`);
	await pause(8);
}

if (behind) {
	const server = new grpc.Server();
	server.addService(service, { Ask: answer });
	server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), () => {});
} else {
	http.createServer(async (request, response) => {
		const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
		await ask(n);
		response.end(`n=${n} done\n`);
	}).listen(Number(port), "127.0.0.1", 1024);
}

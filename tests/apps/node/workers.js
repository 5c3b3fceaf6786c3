"use strict";
// Lines of worker threads: a pool of two that serves every request, and threads that one request starts.
// node workers.js PORT
const http = require("node:http");
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");

function thread() {
	if (workerData) {
		console.log(`n=${workerData.n} own thread`);
		process.stdout.write(`n=${workerData.n} own thread, written\n`);
		parentPort.postMessage("done");
		return;
	}
	parentPort.on("message", ({ job, n }) => {
		console.log(`n=${n} pool begins`);
		setTimeout(() => {
			console.log(`n=${n} pool ends`);
			parentPort.postMessage({ job, n });
		}, Math.random() * 5);
	});
}

function serve() {
	const waiting = new Map();
	let jobs = 0;
	const pool = [1, 2].map(() => new Worker(__filename));
	for (const worker of pool) {
		worker.on("message", ({ job, n }) => {
			console.error(`n=${n} reply`);
			waiting.get(job)();
			waiting.delete(job);
		});
	}
	const ask = (n) =>
		new Promise((resolve) => {
			const job = ++jobs;
			waiting.set(job, resolve);
			pool[job % pool.length].postMessage({ job, n });
		});
	const server = http.createServer(async (request, response) => {
		const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
		console.log(`n=${n} main begins`);
		await ask(n);
		console.log(`n=${n} main between`);
		if (n % 25 === 0) {
			const own = new Worker(__filename, { workerData: { n }, env: n % 50 ? process.env : { OWN: "1" } });
			await new Promise((done) => own.once("message", done));
			console.log(`n=${n} main after its own`);
			await new Promise((done) => own.once("exit", done));
		}
		console.log(`n=${n} main ends`);
		response.end(`n=${n} done\n`);
	});
	server.listen(Number(process.argv[2]), "127.0.0.1", 1024);
}

if (isMainThread) serve();
else thread();

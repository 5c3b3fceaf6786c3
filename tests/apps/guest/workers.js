/* What workers are given, and what their parent sees of them and reads from them. */
"use strict";
const { Worker, SHARE_ENV, isMainThread, parentPort, threadId } = require("worker_threads");
const { inARequest } = require("./kit");

const code = `
	const { parentPort, workerData } = require("worker_threads");
	const http = require("http");
	const say = () => {
		process.stdout.write("out of a worker\\n");
		process.stderr.write("err of a worker\\n");
		parentPort.postMessage([process.env.NODE_OPTIONS, "NODE_OPTIONS" in process.env, process.execArgv,
			process.argv.slice(2), process._preload_modules, Object.keys(require.cache).length]);
	};
	const server = http.createServer((request, response) => {
		say();
		response.end();
	});
	server.listen(0, () => http.get({ port: server.address().port, agent: false }, (answer) => {
		answer.resume().on("end", () => server.close());
	}));
`;

const options = [
	{},
	{ env: { A: "1" } },
	{ env: { NODE_OPTIONS: "--no-warnings" } },
	{ env: { ...process.env, NODE_OPTIONS: "" } },
	{ env: SHARE_ENV },
	{ execArgv: [] },
	{ execArgv: ["--no-warnings"], argv: ["an", "argument"] },
	{ resourceLimits: { maxOldGenerationSizeMb: 60 } },
	{ stdout: true },
	{ stderr: true },
	{ stdout: true, stderr: true, env: { B: "2" } },
];
const wrong = [
	{ env: 5 },
	{ execArgv: "x" },
	{ execArgv: ["--no-such"] },
	{ env: { NODE_OPTIONS: "--no-such" } },
	{ argv: 5 },
];

function run(option) {
	return new Promise((resolve) => {
		const worker = new Worker(code, { ...option, eval: true });
		const read = { out: "", err: "" };
		if (option.stdout) {
			worker.stdout.on("data", (bytes) => (read.out += bytes));
		}
		if (option.stderr) {
			worker.stderr.on("data", (bytes) => (read.err += bytes));
		}
		let message;
		worker.on("message", (sent) => (message = sent));
		worker.on("exit", (status) => setTimeout(resolve, 20, [worker instanceof Worker, status, message, read]));
	});
}

inARequest(async () => {
	console.log(Worker.name, Worker.length, Object.keys(Worker), isMainThread, parentPort, threadId);
	for (const option of options) {
		console.log(JSON.stringify(await run(option)));
	}
	for (const option of wrong) {
		try {
			console.log(new Worker("", { ...option, eval: true }).threadId);
		} catch (error) {
			console.log(error.code, error.message);
		}
	}
});

"use strict";
/*
 * A request in which the program fails: node crash.js PORT throw|reject|async|handler|catcher|alone
 * Number 40 does, while the others are being served.
 */
const http = require("node:http");

const [port, way] = process.argv.slice(2);

const ways = {
	throw: (error) => setTimeout(() => failInTimer(error), 5),
	reject: (error) => Promise.reject(error),
	async: async (error) => {
		await new Promise(setImmediate);
		throw error;
	},
	handler: (error) => {
		throw error;
	},
	catcher: (error) => setTimeout(() => failInTimer(error), 5),
	/* Test runners leave no listener on the process but their own. */
	alone: (error) => setTimeout(() => failInTimer(error, process.removeAllListeners()), 5),
};

function failInTimer(error) {
	throw error;
}

if (way === "catcher") {
	process.on("uncaughtException", (error) => {
		console.error(error);
		process.exit(7);
	});
}

http.createServer((request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	setTimeout(() => {
		console.log(`n=${n} ends`);
		response.end(`n=${n} done\n`);
	}, n === 40 ? 1000 : Math.random() * 50); // it fails before its answer, so that the answer cannot end its context
	if (n === 40) ways[way](new Error(`n=${n} is fatal`));
}).listen(Number(port), "127.0.0.1", 1024);

"use strict";
// node cluster.js PORT: a primary and two workers
const cluster = require("node:cluster");
const http = require("node:http");
const { work } = require("./work.js");

if (cluster.isPrimary) {
	process.on("SIGTERM", () => {
		for (const worker of Object.values(cluster.workers)) worker.kill();
		process.exit(0);
	});
	for (let i = 0; i < 2; i++) cluster.fork();
	cluster.on("listening", (worker) => console.log(`worker ${worker.id} listens`));
} else {
	const server = http.createServer(async (request, response) => {
		const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
		const say = (text) => console.log(`n=${n} ${text}`);
		say("begins");
		await work(n, say);
		say("ends");
		response.end(`n=${n} done\n`);
	});
	server.listen(Number(process.argv[2]), "127.0.0.1", 1024);
}

/* A small server for every engine that has Node's modules: server.mjs PORT */
import http from "node:http";
import process from "node:process";

http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	await new Promise((done) => setTimeout(done, Math.random() * 5));
	console.log(`n=${n} ends`);
	response.end(`n=${n} done\n`);
}).listen(Number(process.argv[2]), "127.0.0.1", 1024);

"use strict";
// Connections that leave HTTP: lines are echoed after an upgrade or a CONNECT. node tunnels.js PORT
const http = require("node:http");

function serve(n, socket, head, greeting) {
	const say = (text) => console.log(`n=${n} ${text}`);
	say("tunnel opened");
	socket.write(greeting);
	socket.write(`n=${n} hello\n`);
	let rest = String(head);
	socket.on("data", (data) => {
		const lines = (rest + data).split("\n");
		rest = lines.pop();
		for (const line of lines) {
			say(`got ${line.slice(line.indexOf(" ") + 1)}`);
			setTimeout(() => {
				say("answering");
				socket.write(`${line}\n`);
			}, Math.random() * 5);
		}
	});
	socket.on("end", () => {
		say("tunnel ended");
		socket.end();
	});
	socket.on("error", (error) => say(error.message));
}

const server = http.createServer((request, response) => response.end("plain\n"));
server.on("upgrade", (request, socket, head) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	serve(n, socket, head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n");
});
server.on("connect", (request, socket, head) => {
	serve(Number(request.url.slice(1).split(".")[0]), socket, head, "HTTP/1.1 200 Connected\r\n\r\n");
});
server.listen(Number(process.argv[2]), "127.0.0.1", 1024);

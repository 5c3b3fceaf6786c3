/* What a program finds on an upgraded connection, and does to it. */
"use strict";
const http = require("http");

const server = http.createServer();
for (const type of ["upgrade", "connect"]) {
	server.on(type, (request, socket, early) => {
		console.log(type, request.url, socket.eventNames().map(String).sort().join(" "), String(early));
		socket.removeAllListeners();
		socket.on("data", (bytes) => {
			console.log(type, "was told", String(bytes));
			socket.end("bye");
		});
		socket.on("close", () => console.log(type, "is closed"));
		const head = type === "upgrade" ? "101 Yes\r\nConnection: upgrade\r\nUpgrade: x" : "200 Yes";
		socket.write("HTTP/1.1 " + head + "\r\n\r\n");
	});
}

function talk(options, then) {
	const call = http.request({ port: server.address().port, host: "127.0.0.1", ...options });
	call.on(options.method === "CONNECT" ? "connect" : "upgrade", (answer, socket) => {
		socket.on("data", (bytes) => console.log("answered", String(bytes))).on("close", then);
		socket.write("hello");
	});
	call.end();
}

server.listen(0, "127.0.0.1", () => {
	talk({ path: "/up", headers: { Connection: "upgrade", Upgrade: "x" } }, () => {
		talk({ method: "CONNECT", path: "host:1" }, () => server.close());
	});
});

/* What the guests share. */
"use strict";
const http = require("http");

/* Run it within a request of its own, and end when it has. */
function inARequest(work) {
	const server = http.createServer(async (request, response) => {
		await work(request, response);
		response.end();
	});
	server.listen(0, "127.0.0.1", () => {
		const { port } = server.address();
		http.get({ port, host: "127.0.0.1", agent: false }, (answer) => answer.resume().on("end", () => server.close()));
	});
}

module.exports = { inARequest };

/* Calls that Node refuses to make, each on a session of HTTP/2 of its own, and what they leave behind. */
"use strict";
const { once } = require("events");
const http2 = require("http2");
const { inARequest } = require("./kit");

const headers = {
	number: 5,
	nothing: null,
	text: "text",
	token: { "bad header": "x" },
	twice: { ":path": ["/a", "/b"] },
	connection: { connection: "close" },
	method: { ":method": 5 },
	unknown: { ":unknown": "x" },
	value: { a: "b\0" },
	good: { a: "b" },
	none: undefined,
};

async function call(port, name) {
	const session = http2.connect("http://127.0.0.1:" + port);
	session.on("error", (error) => console.log("session of", name, error.code));
	try {
		const stream = session.request(headers[name]);
		stream.on("error", (error) => console.log("stream of", name, error.code));
		stream.resume().end();
		await once(stream, "close");
		console.log(name, "made", session.destroyed);
	} catch (error) {
		console.log(name, error.code, error.message, session.destroyed);
	}
	session.destroy();
}

inARequest(async () => {
	const server = http2.createServer((request, response) => response.end("done"));
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	for (const name of Object.keys(headers)) {
		await call(server.address().port, name);
	}
	server.close();
});

"use strict";
const assert = require("node:assert");
const http = require("node:http");
const test = require("node:test");

test("a server answers", async () => {
	const server = http.createServer((request, response) => {
		console.log("serving");
		response.end("hello");
	});
	await new Promise((done) => server.listen(0, "127.0.0.1", done));
	const response = await fetch(`http://127.0.0.1:${server.address().port}/`);
	assert.strictEqual(await response.text(), "hello");
	server.close();
});

test("this one fails", () => assert.strictEqual(1, 2));

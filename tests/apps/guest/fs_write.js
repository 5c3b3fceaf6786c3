/*
 * What fs.write and its kin do to a log, and what they answer, in a request: every form of arguments, right and wrong.
 */
"use strict";
const fs = require("fs");
const { inARequest } = require("./kit");

const line = Buffer.from("0123 in a buffer\n");
const forms = [
	["a string\n"],
	["of two\nlines\n"],
	["with a position\n", null],
	["and an encoding\n", null, "utf8"],
	["6865780a", null, "hex"],
	["encoding unknown\n", null, "no-such"],
	["position wrong\n", "x"],
	[line],
	[line, 5],
	[line, 5, 12],
	[line, 5, 12, null],
	[line, null, null, null],
	[line, undefined, undefined, undefined],
	[line, { offset: 8 }],
	[line, { offset: 5, length: 12, position: null }],
	[line, 17],
	[line, 18],
	[line, 0, 18],
	[line, -1],
	[line, 0, -1],
	[line, 0.5],
	[new Uint8Array(line)],
	[new Uint16Array([0x6161, 0x0a61])],
	[new DataView(line.buffer, line.byteOffset, line.length)],
	[""],
	[Buffer.alloc(0)],
	[null],
	[5],
	[{}],
];

function show(form) {
	return JSON.stringify(form.map((part) => (ArrayBuffer.isView(part) ? part.constructor.name : part)));
}

/* One at a time: they are written by threads. */
async function each(call) {
	for (const form of forms) {
		let said;
		try {
			said = await call(form);
		} catch (error) {
			said = error.code + " " + error.message;
		}
		console.log(show(form), said);
	}
}

inARequest(async () => {
	await each((form) => new Promise((resolve) => {
		fs.write(1, ...form, (error, count, chunk) => resolve([error, count, chunk === form[0]]));
	}));
	await each((form) => fs.writeSync(1, ...form));
	console.log(await new Promise((resolve) => {
		fs.writev(1, [line, line], (...answer) => resolve(answer.length));
	}));
	console.log(fs.writevSync(1, [line, line]), fs.writeFileSync(1, "a file\n"), fs.appendFileSync(1, "more of it\n"));
	for (const wrong of [["no callback\n"], ["no function\n", "x"]]) {
		try {
			console.log(fs.write(1, ...wrong));
		} catch (error) {
			console.log(error.code, error.message);
		}
	}
});

"use strict";
// What writing tells the program: counts, callbacks, returned values, and what it sees through streams of its own.
const { Console } = require("node:console");
const fs = require("node:fs");
const { Writable } = require("node:stream");

const told = [];
const tell = (name, value) => told.push(`${name}: ${JSON.stringify(value)}`);
const later = (start) => new Promise((done) => start((...values) => done(values)));

function captured() {
	const chunks = [];
	const { write } = process.stdout;
	process.stdout.write = (chunk, encoding, done) => {
		chunks.push([typeof chunk, String(chunk)]);
		(typeof encoding === "function" ? encoding : done)?.();
		return true;
	};
	console.log("captured %d", 1);
	process.stdout.write(Buffer.from("captured 2\n"));
	process.stdout.write = write;
	return chunks;
}

function teed() {
	const chunks = [];
	const { write } = process.stdout;
	process.stdout.write = function (chunk, ...rest) {
		chunks.push(String(chunk));
		return write.call(this, chunk, ...rest);
	};
	console.log("teed");
	process.stdout.write = write;
	return chunks;
}

function inMemory() {
	let text = "";
	const stream = new Writable({ write: (chunk, encoding, done) => done(void (text += chunk)) });
	new Console(stream).log("in memory");
	return text;
}

async function main() {
	tell("writeSync", fs.writeSync(1, "ünïcödé\n"));
	tell("writeSync of a part", fs.writeSync(1, Buffer.from("xxpart\nxx"), 2, 5));
	tell("writeSync of nothing", fs.writeSync(1, ""));
	tell("writeSync without newline", fs.writeSync(1, "half "));
	tell("writeSync of the rest", fs.writeSync(1, "and half\n", null, "latin1"));
	tell("writevSync", fs.writevSync(1, [Buffer.from("one "), Buffer.from("two\n")]));
	tell("write", (await later((done) => fs.write(1, Buffer.from("by callback\n"), done))).map(String));
	tell("writev", (await later((done) => fs.writev(1, [Buffer.from("vectored\n")], done))).map(String));
	tell("write returned", process.stdout.write("returned\n"));
	tell("write called back", await later((done) => process.stdout.write("called back\n", done)));
	tell("write of an array", process.stdout.write(new Uint8Array([104, 105, 10])));
	tell("hex", process.stdout.write("68690a", "hex"));
	tell("base64", await later((done) => process.stdout.write("aGkK", "base64", done)));
	tell("console", String(console.log("from the console")));
	tell("captured", captured());
	tell("teed", teed());
	tell("in memory", inMemory());
	for (const bad of [null, 5, {}]) {
		try {
			process.stdout.write(bad);
		} catch (error) {
			tell("bad chunk", [error.code, error.message]);
		}
	}
	try {
		fs.writeSync(1, Buffer.from("abc"), 2, 5);
	} catch (error) {
		tell("bad length", [error.code, error.message]);
	}
	tell("long", await later((done) => process.stdout.write(`${"long ".repeat(20000)}\n`, done)));
	tell("bytes", process.stdout.bytesWritten ?? null);
	tell("queued", [process.stdout.writableLength, process.stdout.writableNeedDrain]);
	for (let i = 0; i < 20000; i++) console.log(`line ${i}`);
	await later((done) => process.stdout.write("last\n", done));
	for (const line of told) console.error(line);
}

main();

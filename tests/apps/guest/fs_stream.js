/* Write streams on a log, in a request: what they answer, how long they say they are, and lines that come in pieces. */
"use strict";
const fs = require("fs");
const { once } = require("events");
const { inARequest } = require("./kit");

const say = (...words) => fs.writeSync(2, words.join(" ") + "\n");

async function use(stream) {
	stream.on("drain", () => say("drain"));
	stream.on("error", (error) => say("error", error.code));
	const write = (...args) => say(stream.write(...args), stream.writableLength);
	write("one\n", (...answer) => say("called back", answer.length));
	write("616263640a", "hex");
	write(Buffer.from("a buffer\n"));
	write("a line ");
	write("in pieces\n");
	write("several\nlines\n");
	write("x".repeat(100) + "\n");
	stream.setDefaultEncoding("hex");
	write("6162630a");
	stream.setDefaultEncoding("utf8");
	stream.cork();
	write("corked\n");
	write("twice\n");
	stream.uncork();
	for (const wrong of [["x\n", "no-such"], [5], [null]]) {
		try {
			stream.write(...wrong);
		} catch (error) {
			say("refused", error.code);
		}
	}
	stream.end("the end\n");
	await once(stream, "finish");
	say(stream.bytesWritten, stream.pending, stream.writableFinished);
	stream.write("after it\n");
}

function inPieces(text) {
	return new Promise((resolve) => {
		fs.write(1, text[0], () => (text.length > 1 ? resolve(inPieces(text.slice(1))) : resolve()));
	});
}

inARequest(async () => {
	const streams = [
		() => fs.createWriteStream(null, { fd: 1, autoClose: false }),
		() => fs.createWriteStream("/dev/stdout", { flags: "a" }),
		() => fs.createWriteStream("/dev/stdout", { flags: "a", highWaterMark: 64 }),
	];
	for (const make of streams) {
		const stream = make();
		if (typeof stream.fd !== "number") {
			await once(stream, "open");
		}
		await use(stream);
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
	}
	await inPieces("written one by one\n");
});

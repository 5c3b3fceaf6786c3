/*
 * Lines by fs.write into a full pipe that does not block: what was not taken is written again, as the counts tell.
 */
"use strict";
const fs = require("fs");
const { inARequest } = require("./kit");

const CHUNKS = 400;
let short = 0;

function write(bytes, done) {
	fs.write(1, bytes, (error, count) => {
		if (error && error.code !== "EAGAIN") {
			throw error;
		}
		if (!error && count === bytes.length) {
			done();
		} else {
			short += error ? 0 : 1;
			setTimeout(write, 1, error ? bytes : bytes.subarray(count), done);
		}
	});
}

/* A long line alone, or several lines. */
function chunk(number) {
	if (number % 2 === 0) {
		return Buffer.from("alone " + number + " " + "x".repeat((number * 97) % 12000) + "\n");
	}
	let text = "";
	for (let i = 0; i < 2 + (number % 40); i++) {
		text += "together " + number + " line " + i + " " + "x".repeat((number * 7 + i * 31) % 700) + "\n";
	}
	return Buffer.from(text);
}

inARequest(async () => {
	void process.stdout; // which makes the pipe one that does not block
	for (let number = 0; number < CHUNKS; number++) {
		await new Promise((resolve) => {
			write(chunk(number), resolve);
		});
	}
	// How many is up to the reader: not for the comparison.
	fs.appendFileSync(process.argv[2] + (process.env.LD_PRELOAD ? ".shim" : ".bare"), short + "\n");
});

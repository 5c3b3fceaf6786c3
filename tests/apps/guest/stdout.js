/* Standard output while something waits in it: encodings, pieces, wrong chunks, callbacks, and after its end. */
"use strict";
const fs = require("fs");
const { inARequest } = require("./kit");

const out = process.stdout;
const said = [];

function write(...args) {
	const back = (error) => said.push("called back " + (error ? error.code : ""));
	try {
		said.push(typeof out.write(...args, back));
	} catch (error) {
		said.push(error.code);
	}
}

inARequest(async () => {
	out.on("error", (error) => said.push("error " + error.code));
	out.cork();
	write("text\n");
	write("6865780a", "hex");
	write("YmFzZTY0Cg==", "base64");
	write("latin1 \u00e9\n", "utf8");
	write(Buffer.from("a buffer\n"));
	write(new Uint8Array([98, 121, 116, 101, 115, 10]));
	write("a line ");
	write("in pieces, ");
	write("and its end\nmore\nof them");
	write("\n");
	write("");
	write(Buffer.alloc(0));
	write("x\n", "no-such");
	write(null);
	write(5);
	out.setDefaultEncoding("hex");
	write("6865782062792064656661756c740a");
	out.setDefaultEncoding("utf8");
	out.uncork();
	await new Promise((resolve) => {
		out.write("last\n", resolve);
	});
	out.end("the end\n");
	write("after it\n");
	await new Promise((resolve) => {
		setTimeout(resolve, 50);
	});
	fs.writeSync(2, said.join("\n") + "\n");
});

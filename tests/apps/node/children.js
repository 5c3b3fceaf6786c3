"use strict";
// Each request starts a process in one of many ways; its lines say the request's number. node children.js PORT
const { exec, execFile, execFileSync, execSync, fork, spawn, spawnSync } = require("node:child_process");
const http = require("node:http");

if (process.send && process.argv[2] === "child") {
	process.once("message", (n) => {
		console.log(`n=${n} from a fork`);
		process.send("done", () => process.disconnect());
	});
	return;
}

const script = (n) => `echo "n=${n} from a shell"; ${process.execPath} -e 'console.log("n=${n} from node")'`;
const closed = (child) => new Promise((done) => child.on("close", done));
const inherit = { stdio: "inherit" };

const ways = [
	(n) => closed(spawn("/bin/sh", ["-c", script(n)], inherit)),
	(n) => closed(spawn("/bin/sh", ["-c", script(n)], { ...inherit, env: { OWN: String(n) } })),
	(n) => closed(spawn(script(n), { ...inherit, shell: true })),
	(n) => spawnSync("/bin/sh", ["-c", `echo "n=${n} from a shell"`], inherit),
	(n) => execSync(`echo "n=${n} from a shell" >&2`, inherit),
	(n) => closed(spawn(process.execPath, ["-e", `console.log("n=${n} from node")`], inherit)),
	async (n) => {
		const child = fork(__filename, ["child"], { execArgv: [] });
		child.send(n);
		await closed(child);
	},
	// What a child writes into a pipe is the program's data, and stays as it is.
	async (n) => {
		const out = await new Promise((done) => exec(`echo "n=${n} data"`, (error, text) => done(text)));
		console.log(`n=${n} ${out === `n=${n} data\n` ? "data intact" : `data changed: ${out}`}`);
	},
	async (n) => {
		const args = ["-e", `console.log("n=${n} data", JSON.stringify(process.execArgv), process.env.NODE_OPTIONS)`];
		const out = await new Promise((done) => execFile(process.execPath, args, (error, text) => done(text)));
		const wanted = `n=${n} data ${JSON.stringify(args)} undefined\n`;
		console.log(`n=${n} ${out === wanted ? "data intact" : `data changed: ${out}`}`);
	},
	(n) => {
		const out = execFileSync("/bin/sh", ["-c", "echo $TRACEPARENT"], { encoding: "utf8" });
		console.log(`n=${n} TRACEPARENT=${out.trim()}`);
	},
];

const server = http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	await ways[n % ways.length](n);
	console.log(`n=${n} ends`);
	response.end(`n=${n} done\n`);
});
server.listen(Number(process.argv[2]), "127.0.0.1", 1024);

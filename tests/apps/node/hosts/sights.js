"use strict";
// What a program can see of itself and of its children: nothing of it may differ when it is traced.
const { execFileSync, spawnSync, fork } = require("node:child_process");
const { Worker, isMainThread, parentPort } = require("node:worker_threads");

const ours = /^(LD_PRELOAD|TRACE.*|_|SHLVL)$/;
// Those of Node by name and value, of the others how many there are.
function visible(env) {
	const names = Object.keys(env).filter((name) => !ours.test(name));
	const shown = names.filter((name) => /NODE|UV/.test(name)).sort();
	return [...shown.map((name) => `${name}=${env[name]}`), `${names.length} in all`];
}

function self() {
	return {
		options: String(process.env.NODE_OPTIONS),
		hasOptions: "NODE_OPTIONS" in process.env,
		execArgv: process.execArgv,
		argv: process.argv.slice(2),
		env: visible(process.env),
		preloaded: process._preload_modules,
		main: require.main === undefined || require.main === module,
		cache: Object.keys(require.cache).filter((name) => name !== __filename),
		children: module.children.length,
		globals: Object.getOwnPropertyNames(globalThis).sort(),
		processKeys: Object.keys(process).sort(),
		// Where a crash is named: it changes nothing, and nothing else will do.
		listeners: process
			.eventNames()
			.filter((name) => name !== "uncaughtExceptionMonitor")
			.map((name) => `${String(name)} ${process.listenerCount(name)}`),
		handles: process.getActiveResourcesInfo?.(),
		exitCode: String(process.exitCode),
		log: [console.log.name, console.log.length, process.stdout.write.name, process.stdout.write.length],
	};
}

if (!isMainThread) {
	parentPort.postMessage(self());
	return;
}
if (process.argv[2] === "child") {
	process.send(self(), () => process.disconnect());
	return;
}

const show = (name, value) => console.log(`${name}: ${JSON.stringify(value, null, 1)}`);
const asked = "JSON.stringify([process.execArgv, process.env.NODE_OPTIONS ?? null, process.argv.length])";

async function main() {
	show("self", self());
	const env = execFileSync("/usr/bin/env", { encoding: "utf8" }).trim().split("\n");
	show("env of a child", visible(Object.fromEntries(env.map((line) => line.split("=")))));
	show("node in a child", execFileSync(process.execPath, ["-p", asked], { encoding: "utf8" }));
	const own = { ...process.env, NODE_OPTIONS: "--no-warnings --max-old-space-size=300" };
	show("with options", execFileSync(process.execPath, ["-p", asked], { encoding: "utf8", env: own }));
	delete process.env.NODE_OPTIONS;
	show("without", execFileSync(process.execPath, ["-p", asked], { encoding: "utf8" }));
	show("in a shell", spawnSync("sh", ["-c", "echo \"[$NODE_OPTIONS]\""], { encoding: "utf8" }).stdout);
	const forked = fork(__filename, ["child"], { execArgv: ["--no-warnings"] });
	show("fork", await new Promise((done) => forked.on("message", done)));
	show("worker", await new Promise((done) => new Worker(__filename).on("message", done)));
	const settings = { env: { OWN: "1" }, execArgv: ["--no-warnings"], argv: ["a"] };
	show("own worker", await new Promise((done) => new Worker(__filename, settings).on("message", done)));
	process.exitCode = 3;
}

main();

"use strict";
// A diagnostic report: how a program was started and what it has open. Its stack and its libraries are left out: we are in these.
const fs = require("fs");
const http = require("http");

function show(name, given) {
	const report = typeof given === "string" ? JSON.parse(given) : given;
	const { header, libuv, environmentVariables, workers } = report;
	const ours = ["LD_PRELOAD", "TRACESHIM_RUN_DIR"];
	console.log(name, Object.keys(report), header.commandLine, header.threadId, workers);
	console.log(libuv.map(({ type, is_active, is_referenced }) => [type, is_active, is_referenced].join(" ")).sort());
	console.log(Object.keys(environmentVariables).filter((name) => !ours.includes(name)).sort());
}

show("at the start", process.report.getReport());
const server = http.createServer((request, response) => {
	show("in a request", process.report.getReport());
	process.report.directory = process.argv[2];
	process.report.writeReport("report.json");
	show("in a file", fs.readFileSync(`${process.argv[2]}/report.json`, "utf8"));
	response.end("done");
});
server.listen(0, "localhost", () => {
	http.get({ port: server.address().port }, (response) => response.resume().on("end", () => server.close()));
});

"use strict";
// What a session with the inspector, or a tool that opens one, gets to see of a program that serves a request.
const http = require("http");
const inspector = require("inspector");

const session = new inspector.Session();
const calls = [];

function evaluate(expression) {
	session.post("Runtime.evaluate", { expression }, (error, { result }) => calls.push([error, result.value]));
}

session.connect();
session.on("Runtime.consoleAPICalled", ({ params }) => {
	const frames = params.stackTrace.callFrames.slice(0, 2);
	calls.push([params.type, params.args[0].value, frames.map(({ functionName, url }) => [functionName, url.split("/").pop()])]);
});
session.post("Runtime.enable");
session.post("Profiler.enable");
session.post("Profiler.start");
session.post("Runtime.globalLexicalScopeNames", (error, { names }) => calls.push(names));

const server = http.createServer((request, response) => {
	console.log(`asked for ${request.url}`);
	evaluate("console.warn('evaluated'); [1, 2].map((x) => x * 2).join()");
	evaluate("typeof start + typeof native + typeof storage");
	response.end("done");
});

server.listen(0, "127.0.0.1", () => {
	http.get({ host: "127.0.0.1", port: server.address().port, path: "/page" }, (response) => {
		response.resume().on("end", () => {
			server.close();
			session.post("Profiler.stop", (error, { profile }) => {
				session.disconnect();
				console.log("profile:", error, profile.nodes.length > 1, profile.samples.length > 0);
				console.log(JSON.stringify(calls, null, "\t"));
			});
		});
	});
});

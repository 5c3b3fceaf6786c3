/* Where a program could meet a file that it did not ask for. */
"use strict";
const { inARequest } = require("./kit");

function look() {
	console.log(Object.keys(require.cache).map((file) => file.split("/").pop()));
	console.log(module.parent, module.children.length, require.main === module);
	console.log(process._preload_modules, process.execArgv);
	console.log(process.env.NODE_OPTIONS, "NODE_OPTIONS" in process.env);
	console.log(Object.keys(process.env).filter((name) => name !== "LD_PRELOAD").length);
	console.log(Reflect.ownKeys(globalThis).map(String).join(" "));
	console.log(process.eventNames(), process.getMaxListeners(), Reflect.ownKeys(process).map(String).join(" "));
	console.log(Object.values(require("module")._pathCache).map((file) => file.split("/").pop()));
}

look();
inARequest((request, response) => {
	look();
	for (const object of [request, response, request.socket, request.socket.server]) {
		console.log(Reflect.ownKeys(object).map(String).join(" "), object.eventNames().map(String).join(" "));
	}
});

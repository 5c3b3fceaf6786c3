/* What console.log shows of promises and timers in a request that came with a password. */
"use strict";
const http = require("http");

const server = http.createServer((request, response) => {
	const work = Promise.resolve(1);
	console.dir(work, { depth: 9, showHidden: true });
	console.dir(setTimeout(() => {}, 1), { depth: 9 });
	console.log(JSON.stringify(work), Object.keys(work).length);
	response.end();
});
server.listen(0, "127.0.0.1", () => {
	const options = { host: "127.0.0.1", port: server.address().port, agent: false, headers: { authorization: "a secret" } };
	http.get(options, (answer) => answer.resume().on("end", () => server.close()));
});

"use strict";
// itself.js in a thread, whose environment and options are the parent's or its own: node thread.js same|env|options|both
const { Worker } = require("node:worker_threads");

const settings = {
	same: {},
	env: { env: { OWN: "1" } },
	options: { execArgv: ["--no-warnings"] },
	both: { env: { OWN: "1" }, execArgv: [] },
};
new Worker(`${__dirname}/itself.js`, settings[process.argv[2]]).on("exit", (status) => console.log(`exit ${status}`));

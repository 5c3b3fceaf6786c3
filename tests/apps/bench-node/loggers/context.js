"use strict";
// An ordinary program whose requests run in an AsyncLocalStorage that nobody asks: what the mechanism alone costs.
const { AsyncLocalStorage } = require("node:async_hooks");

const storage = new AsyncLocalStorage();
let requests = 0;

module.exports = {
	log: console.log,
	handled: (handler) => (req, res) => storage.run(++requests, handler, req, res),
};

"use strict";
// The smallest server there is: one line a request.
const http = require("node:http");
const { log, handled } = require("./loggers");

function hello(req, res) {
	log(`hello ${req.url}`);
	res.end("hello\n");
}

http.createServer(handled(hello)).listen(Number(process.argv[2]), "127.0.0.1");

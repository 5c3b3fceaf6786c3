"use strict";
// One route of Express, one line a request.
const http = require("node:http");
const express = require("express");
const { log, handled } = require("./loggers");

const app = express();

app.get("/", (req, res) => {
	log(`hello ${req.url}`);
	res.json({ hello: "world" });
});

http.createServer(handled(app)).listen(Number(process.argv[2]), "127.0.0.1");

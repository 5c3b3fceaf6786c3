"use strict";
// node express.js PORT
const { AsyncLocalStorage } = require("node:async_hooks");
const express = require("express");
const { work, pause } = require("./work.js");

// The program's own use of what we use, too: the number in its lines comes from there.
const current = new AsyncLocalStorage();

const app = express();
const say = (text) => console.log(`n=${current.getStore()} ${text}`);

app.disable("x-powered-by");
app.use((request, response, next) => {
	request.n = Number(request.query.n);
	response.on("finish", () => console.error(`n=${request.n} ${response.statusCode}`));
	current.run(request.n, () => {
		say(`${request.method} begins`);
		setTimeout(next, pause() / 2);
	});
});
app.use(express.text({ type: "*/*" }));
app.use((request, response, next) => {
	say(`body of ${(request.body ?? "").length}`);
	next();
});

app.all("/broken", async (request) => {
	await new Promise((done) => setTimeout(done, pause()));
	throw new Error(`n=${request.n} broke`);
});

const router = express.Router();
router.all("/items/:id", async (request, response) => {
	await work(request.n, say);
	if (request.n % 7 === 0) throw new Error(`n=${request.n} failed`);
	say("ends");
	response.send(`n=${request.n} item ${request.params.id}\n`);
});
app.use("/shop", router);
app.use((error, request, response, next) => {
	if (request.path === "/broken") return next(error);
	say("error handler");
	response.status(200).send(`n=${request.n} ${error.message}\n`);
});
app.listen(Number(process.argv[2]), "127.0.0.1", 1024);

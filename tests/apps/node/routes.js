"use strict";
// Routes of frameworks, plain and nested: node routes.js PORT express|express-4|fastify|koa
const [port, kind] = process.argv.slice(2);

const kinds = {
	express(name = "express") {
		const express = require(name);
		const app = express();
		const shop = express.Router();
		shop.get("/items/:id", (request, response) => response.send(`item ${request.params.id}\n`));
		// A router on a path that has a parameter, in a router that has no path.
		const orders = express.Router({ mergeParams: true });
		orders.get("/:order", async (request, response) => {
			await new Promise(setImmediate);
			response.send(`order ${request.params.order} of ${request.params.user}\n`);
		});
		const people = express.Router();
		people.use("/users/:user/orders", orders);
		// An application in an application.
		const sub = express();
		sub.get("/inner/:x", (request, response) => response.end(`${request.params.x}\n`));
		// What fails is answered outside of its router.
		const fails = express.Router();
		fails.get("/:id", () => {
			throw new Error("on purpose");
		});
		app.use("/shop", shop);
		app.use(people);
		app.use("/sub", sub);
		app.use("/fails", fails);
		app.use((error, request, response, next) => response.status(500).send("failed\n"));
		return app;
	},
	"express-4": () => kinds.express("express-4"),
	async fastify() {
		const app = require("fastify")();
		app.get("/items/:id", async (request) => `item ${request.params.id}\n`);
		app.register(async (deep) => deep.get("/items/:id", (request, reply) => reply.send("deep\n")), { prefix: "/deep" });
		await app.ready();
		return app.routing;
	},
	koa() {
		const Koa = require("koa");
		const Router = require("@koa/router");
		const app = new Koa();
		const router = new Router();
		router.get("/items/:id", (context) => {
			context.body = `item ${context.params.id}\n`;
		});
		app.use(router.routes());
		return app.callback();
	},
};

Promise.resolve(kinds[kind]()).then((answer) => {
	require("node:http").createServer({ keepAliveTimeout: 60000 }, answer).listen(Number(port), "127.0.0.1", 1024);
});

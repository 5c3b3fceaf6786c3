"use strict";
// node fastify.js PORT: with its own logger, whose request ids are our numbers
const fastify = require("fastify");
const { work } = require("./work.js");

const app = fastify({
	logger: true,
	genReqId: (request) => `n=${new URL(request.url, "http://localhost").searchParams.get("n")}`,
});
app.addContentTypeParser("*", { parseAs: "string" }, (request, body, done) => {
	request.log.info("parsed");
	done(null, body);
});
app.addHook("preHandler", async (request) => {
	await new Promise(setImmediate);
	request.log.info("hook");
});
app.route({
	method: ["GET", "POST"],
	url: "/",
	async handler(request, reply) {
		await work(Number(request.query.n), (text) => request.log.info(text));
		request.log.warn({ size: (request.body ?? "").length }, "ends");
		return `${request.id} done\n`;
	},
});
app.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 1024 });

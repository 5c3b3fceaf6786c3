"use strict";
// node koa.js PORT
const Koa = require("koa");
const { work } = require("./work.js");

const app = new Koa();
app.on("error", (error) => console.error(`${error.message}`));
app.use(async (context, next) => {
	context.state.n = Number(context.query.n);
	context.state.say = (text) => console.log(`n=${context.state.n} ${text}`);
	context.state.say(`${context.method} begins`);
	await next();
	context.state.say("ends");
});
app.use(async (context, next) => {
	let size = 0;
	for await (const chunk of context.req) size += chunk.length;
	context.state.say(`body of ${size}`);
	await next();
});
app.use(async (context) => {
	const { n, say } = context.state;
	await work(n, say);
	context.body = `n=${n} done\n`;
});
app.listen(Number(process.argv[2]), "127.0.0.1", 1024);

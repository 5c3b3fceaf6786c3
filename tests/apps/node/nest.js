"use strict";
// node nest.js PORT: what decorators would do is called by hand
require("reflect-metadata");
const { Controller, Get, Module, Query } = require("@nestjs/common");
const { NestFactory } = require("@nestjs/core");
const { work, pause } = require("./work.js");

class Shop {
	async item(n) {
		const say = (text) => console.log(`n=${n} ${text}`);
		say("begins");
		await work(n, say);
		say("ends");
		return `n=${n} item\n`;
	}

	async broken(n) {
		await new Promise((done) => setTimeout(done, pause()));
		throw new Error(`n=${n} broke`);
	}
}

for (const name of ["item", "broken"]) {
	Get(name)(Shop.prototype, name, Object.getOwnPropertyDescriptor(Shop.prototype, name));
	Query("n")(Shop.prototype, name, 0);
}
Controller()(Shop);

class Root {}
Module({ controllers: [Shop] })(Root);

NestFactory.create(Root, { logger: ["error"] }).then((app) => app.listen(Number(process.argv[2]), "127.0.0.1"));

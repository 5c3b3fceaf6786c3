"use strict";
/*
 * Databases behind small pools, by callback and by promise: node drivers.js PORT DRIVER-STYLE
 * Lines of callbacks go to stderr: a driver may run them in the context of whoever completed before, and then they may have
 * no id, but never another request's.
 */
const http = require("node:http");

const socketOf = { pg: process.env.PG_SOCKET, mysql: process.env.MYSQL_SOCKET, redis: process.env.REDIS_SOCKET };

const pgPool = () => {
	const { Pool } = require("pg");
	return new Pool({ host: socketOf.pg, user: process.env.DB_USER, database: "postgres", max: 2 });
};
const mysqlOptions = { socketPath: socketOf.mysql, user: process.env.DB_USER, connectionLimit: 2 };

/* A callback brings a connection, and whoever awaits it gives it back, and goes on while the next one has it. */
const bothWays = (connect) => async (n, say, finish) => {
	const connection = await new Promise((resolve) =>
		connect((made) => {
			console.error(`n=${n} connected`);
			resolve(made);
		}));
	say("first true");
	await new Promise((resolve) => connection.query("select 1", resolve));
	say("second");
	connection.release();
	await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
	say("third");
	finish();
};

const kinds = {
	"pg-callback": () => {
		const pool = pgPool();
		return (n, say, finish) =>
			pool.query("select $1::int as n", [n], (error, result) => {
				say(`first ${error?.message ?? result.rows[0].n === n}`);
				pool.connect((failed, connection, release) => {
					say("connected");
					connection.query("select pg_sleep(0.001)", () => {
						say("second");
						release();
						finish();
					});
				});
			});
	},
	"pg-promise": () => {
		const pool = pgPool();
		return async (n, say, finish) => {
			const result = await pool.query("select $1::int as n", [n]);
			say(`first ${result.rows[0].n === n}`);
			const connection = await pool.connect();
			say("connected");
			await connection.query("select pg_sleep(0.001)");
			say("second");
			connection.release();
			finish();
		};
	},
	"pg-both-promise": () => {
		const pool = pgPool();
		return bothWays((back) => pool.connect((error, connection) => back(connection)));
	},
	"mysql-both-promise": () => {
		const pool = require("mysql2").createPool(mysqlOptions);
		return bothWays((back) => pool.getConnection((error, connection) => back(connection)));
	},
	"mysql-callback": () => {
		const pool = require("mysql2").createPool(mysqlOptions);
		return (n, say, finish) =>
			pool.query("select ? as n", [n], (error, rows) => {
				say(`first ${error?.message ?? rows[0].n === n}`);
				pool.getConnection((failed, connection) => {
					say("connected");
					connection.execute("select sleep(0.001) + ? as n", [n], () => {
						say("second");
						connection.release();
						finish();
					});
				});
			});
	},
	"mysql-promise": () => {
		const pool = require("mysql2/promise").createPool(mysqlOptions);
		return async (n, say, finish) => {
			const [rows] = await pool.query("select ? as n", [n]);
			say(`first ${rows[0].n === n}`);
			const connection = await pool.getConnection();
			say("connected");
			await connection.execute("select sleep(0.001) + ? as n", [n]);
			say("second");
			connection.release();
			finish();
		};
	},
	"redis-callback": () => {
		const Redis = require("ioredis");
		const redis = new Redis({ path: socketOf.redis, lazyConnect: true });
		return (n, say, finish) =>
			redis.set(`key${n}`, n, (error) => {
				say(`first ${error?.message ?? true}`);
				redis.get(`key${n}`, (failed, value) => {
					say(`second ${Number(value) === n}`);
					redis.blpop("nothing", 0.01, () => {
						say("third");
						finish();
					});
				});
			});
	},
	"redis-promise": () => {
		const Redis = require("ioredis");
		const redis = new Redis({ path: socketOf.redis, lazyConnect: true });
		return async (n, say, finish) => {
			await redis.set(`key${n}`, n);
			say("first true");
			const [[, value]] = await redis.pipeline().get(`key${n}`).del(`key${n}`).exec();
			say(`second ${Number(value) === n}`);
			await redis.ping();
			say("third");
			finish();
		};
	},
};

const [port, kind] = process.argv.slice(2);
const ask = kinds[kind]();
const byPromise = kind.endsWith("promise");

http.createServer((request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	console.log(`n=${n} begins`);
	const say = (text) => (byPromise ? console.log : console.error)(`n=${n} ${text}`);
	ask(n, say, () => response.end(`n=${n} done\n`));
}).listen(Number(port), "127.0.0.1", 1024);

// One server, its lines written in one of many ways: node loggers.mjs PORT KIND [FILE]
// It is an ES module, as half of the world's programs are. Each request has five lines, but for `table`.
import { Console } from "node:console";
import fs from "node:fs";
import http from "node:http";
import { debuglog, format } from "node:util";

const [port, kind, file] = process.argv.slice(2);

// Only what the kind needs: some look at process.stdout as soon as they are loaded, which changes a pipe's mode.
const needed = async (name) => (kind.startsWith(name) ? (await import(name)).default : undefined);
const bunyan = await needed("bunyan");
const pino = await needed("pino");
const pinoHttp = await needed("pino-http");
const pretty = await needed("pino-pretty");
const winston = await needed("winston");

const lines = (write) => ({ info: (text) => write(`${text}\n`), error: (text) => write(`${text}\n`) });

function collecting(write) {
	let lot = "";
	return lines((line) => {
		if (lot === "") {
			setTimeout(() => {
				write(lot);
				lot = "";
			}, 2);
		}
		lot += line;
	});
}

const { combine, json, timestamp, simple } = winston?.format ?? {};
const byWinston = (layout, transports) => winston.createLogger({ level: "info", format: layout, transports });

const kinds = {
	console: () => ({ info: console.log, error: console.error }),
	// One line in several writes of one turn.
	pieces: () =>
		lines((line) => {
			const at = line.indexOf(" ");
			process.stdout.write(line.slice(0, at));
			process.stdout.write(Buffer.from(line.slice(at, -1)));
			process.stdout.write("\n", "latin1", () => {});
		}),
	"own-console": () => new Console({ stdout: process.stdout, stderr: process.stderr }),
	cork: () =>
		lines((line) => {
			process.stdout.cork();
			process.stdout.write(line);
			process.nextTick(() => process.stdout.uncork());
		}),
	"write-sync": () => lines((line) => fs.writeSync(1, line)),
	"write-async": () => lines((line) => fs.write(1, line, () => {})),
	"writev-sync": () => lines((line) => fs.writevSync(1, [Buffer.from(line.slice(0, 4)), Buffer.from(line.slice(4))])),
	"append-sync": () => lines((line) => fs.appendFileSync("/dev/stdout", line)),
	"append-promise": () => lines((line) => fs.promises.appendFile("/dev/stdout", line)),
	"write-file": () => lines((line) => fs.writeFileSync("/dev/stdout", line, { flag: "a" })),
	"file-handle": () => {
		const opened = fs.promises.open("/dev/stdout", "a");
		return lines(async (line) => (await opened).write(line));
	},
	"write-stream": () => {
		const stream = fs.createWriteStream(null, { fd: 1, autoClose: false });
		return lines((line) => stream.write(line));
	},
	"dev-stream": () => {
		const stream = fs.createWriteStream("/dev/stdout", { flags: "a" });
		return lines((line) => stream.write(line));
	},
	// Loggers that collect lines of their own, and write them later, in the name of nobody in particular.
	"own-batch": () => collecting((text) => fs.writeSync(1, text)),
	"own-batch-stdout": () => collecting((text) => process.stdout.write(text)),
	"own-batch-async": () => collecting((text) => fs.write(1, text, () => {})),
	"own-queue": () => {
		const waiting = [];
		const next = () => waiting.length && fs.write(1, waiting[0], () => next(waiting.shift()));
		return lines((line) => waiting.push(line) === 1 && next());
	},
	debuglog: () => {
		const log = debuglog("shop");
		return { info: log, error: log };
	},
	"pino-sync": () => pino(pino.destination({ dest: 1, sync: true })),
	"pino-async": () => pino(pino.destination({ dest: 1, sync: false })),
	"pino-buffered": () => {
		const destination = pino.destination({ dest: 1, minLength: 1024, sync: false });
		setInterval(() => destination.flush(), 20).unref();
		return pino(destination);
	},
	pino: () => pino(),
	"pino-child": () => pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }).child({ part: "shop" }),
	"pino-transport": () => pino(pino.transport({ target: "pino/file", options: { destination: 1 } })),
	"pino-transports": () =>
		pino({
			transport: {
				targets: [
					{ target: "pino/file", options: { destination: 1 }, level: "info" },
					{ target: "pino/file", options: { destination: 2 }, level: "error" },
				],
			},
		}),
	"pino-pretty": () => pino(pretty({ sync: true, colorize: false })),
	"pino-pretty-transport": () => pino({ transport: { target: "pino-pretty", options: { colorize: false } } }),
	"pino-http": () => pino(),
	"pino-file": () => pino(pino.destination({ dest: file, sync: false })),
	winston: () => byWinston(combine(timestamp(), json()), [new winston.transports.Console()]),
	"winston-simple": () => byWinston(simple(), [new winston.transports.Console({ stderrLevels: ["error"] })]),
	"winston-file": () => byWinston(json(), [new winston.transports.File({ filename: file })]),
	bunyan: () => bunyan.createLogger({ name: "shop" }),
	"bunyan-file": () => bunyan.createLogger({ name: "shop", streams: [{ path: file }] }),
};

const log = kinds[kind]();
const perRequest = kind === "pino-http" ? pinoHttp({ logger: log, genReqId: numberOf, quietReqLogger: true }) : undefined;

function numberOf(request) {
	return `n=${new URL(request.url, "http://localhost").searchParams.get("n")}`;
}

const pause = () => new Promise((done) => setTimeout(done, Math.random() * 8));

const server = http.createServer(async (request, response) => {
	perRequest?.(request, response);
	const n = numberOf(request);
	log.info(`${n} begins`);
	await pause();
	log.info(`${n} first of two\n${n} second of two`);
	await pause();
	log.error(`${n} ${format("%s with \"quotes\" and ünïcödé", "error")}`);
	process.nextTick(() => {
		log.info(`${n} ends`);
		response.end(`${n} done\n`);
	});
});
server.listen(Number(port), "127.0.0.1", 1024);

import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import { headers } from "next/headers";
import pino from "pino";

/*
 * How lines get the id of their request: not at all (an ordinary program, bare or under the preload), by hand, or by
 * pino as OpenTelemetry's users have it. BENCH_LOGGER says which; what is not used is not started.
 */
const TRACEPARENT = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

function logByHand() {
	const storage = new AsyncLocalStorage();
	return {
		log(message) {
			const timestamp = new Date().toISOString();
			const traceId = storage.getStore();
			process.stdout.write(JSON.stringify({ timestamp, level: "info", message, traceId }) + "\n");
		},
		async handled(work) {
			const traceparent = (await headers()).get("traceparent");
			return storage.run(TRACEPARENT.exec(traceparent)?.[1] ?? randomBytes(16).toString("hex"), work);
		},
	};
}

function logByPino() {
	const logger = pino(pino.destination({ dest: 1, sync: true }));
	return { log: (line) => logger.info(line), handled: (work) => work() };
}

function make() {
	if (process.env.BENCH_LOGGER === "by-hand") return logByHand();
	if (process.env.BENCH_LOGGER === "pino") return logByPino();
	return { log: console.log, handled: (work) => work() };
}

export const { log, handled } = make();

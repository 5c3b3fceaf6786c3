"use strict";
// The server of calls.mjs with OpenTelemetry in it, set up as its users do: node otel.js PORT PEER_PORT
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { UndiciInstrumentation } = require("@opentelemetry/instrumentation-undici");
const { NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

new NodeTracerProvider().register();
registerInstrumentations({ instrumentations: [new HttpInstrumentation(), new UndiciInstrumentation()] });

const { trace } = require("@opentelemetry/api");
const http = require("node:http");

const [port, peer] = process.argv.slice(2);

const byHttp = (n) =>
	new Promise((resolve, reject) => {
		const done = (response) => response.resume().on("end", resolve);
		http.get(`http://127.0.0.1:${peer}/?n=${n}`, done).on("error", reject);
	});
const byFetch = async (n) => (await fetch(`http://127.0.0.1:${peer}/?n=${n}`)).text();

const server = http.createServer(async (request, response) => {
	const n = Number(new URL(request.url, "http://localhost").searchParams.get("n"));
	const { traceId, spanId } = trace.getActiveSpan().spanContext();
	console.log(`n=${n} begins`);
	console.error(`n=${n} otel=${traceId} span=${spanId}`);
	await new Promise((done) => setTimeout(done, Math.random() * 8));
	await (n % 2 ? byHttp(n) : byFetch(n));
	console.log(`n=${n} ends`);
	response.end(`n=${n} done\n`);
});
server.listen(Number(port), "127.0.0.1", 1024);

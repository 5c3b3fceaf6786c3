"use strict";
/*
 * OpenTelemetry's automatic instrumentation, to be given to --require. With the exporter "none" the SDK makes no
 * tracer, and no line would have an id: so spans go through the usual batches to an exporter that drops them. Log
 * records are not made beside pino's lines. Both favour what is compared with.
 */
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { getNodeAutoInstrumentations } = require("@opentelemetry/auto-instrumentations-node");

const dropping = {
	export: (spans, done) => done({ code: 0 }),
	shutdown: () => Promise.resolve(),
};

const options = { "@opentelemetry/instrumentation-pino": { disableLogSending: true } };

new NodeSDK({
	traceExporter: dropping,
	instrumentations: [getNodeAutoInstrumentations(options)],
}).start();

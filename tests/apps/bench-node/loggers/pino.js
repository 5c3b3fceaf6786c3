"use strict";
// OpenTelemetry has nothing for console: its users log with pino or winston, whose lines it adds the ids to.
const pino = require("pino");

const logger = pino(pino.destination({ dest: 1, sync: true }));

module.exports = { log: (line) => logger.info(line), handled: (handler) => handler };

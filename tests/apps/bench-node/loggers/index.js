"use strict";
/*
 * How the lines of these programs get the id of their request; BENCH_LOGGER says which. Each way gives log(line), and
 * handled(handler): what is given to the server in place of the handler.
 */
module.exports = require(`./${process.env.BENCH_LOGGER ?? "console"}.js`);

"use strict";
// No ids: an ordinary program, bare or under the preload.
module.exports = { log: console.log, handled: (handler) => handler };

"use strict";
// For --require: a profile is written at exit, and SIGTERM alone does not go there.
process.once("SIGTERM", () => process.exit());

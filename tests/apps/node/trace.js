"use strict";
// The traceparent that tests/preload/attribution makes of a request's number.
const hex = (value, digits) => value.toString(16).padStart(digits, "0");

exports.traceparentOf = (n) => {
	const mixed = (BigInt(n) * 2654435761n) % 2n ** 48n;
	return `00-7e57${hex(mixed, 12)}${hex(n, 16)}-ca11e7${hex(n, 10)}-01`;
};

/*
 * Is it OTLP? Requests in JSON against the project's own definitions (the .proto files, as a package brings them), field by field:
 *
 *   node otlp.cjs check FILE     each line of a file that the agent wrote
 *   node otlp.cjs receive        a receiver that others wrote: prints its URL, then what it took
 *
 * The mapping is that of proto3 with OTLP's exceptions: ids in hex, enumerations as numbers. What a definition does not know is
 * wrong, and so is what survives no round trip through the binary form. Prints one line a request, of JSON; `wrong` says what.
 */
'use strict';

const fs = require('node:fs');
const { getProtoRoot } = require('@elastic/mockotlpserver/lib/proto');
const { MockOtlpServer } = require('@elastic/mockotlpserver');

const requestOf = {
	resourceSpans: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
	resourceLogs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest',
};
const idBytes = { traceId: 16, spanId: 8, parentSpanId: 8 };
const bounds = { int64: [-(2n ** 63n), 2n ** 63n], uint64: [0n, 2n ** 64n], fixed64: [0n, 2n ** 64n], sfixed64: [-(2n ** 63n), 2n ** 63n] };
const smallBounds = { int32: [-(2 ** 31), 2 ** 31], uint32: [0, 2 ** 32], fixed32: [0, 2 ** 32] };

/* protobufjs names fields as the JSON mapping does. Returns the value for its fromObject. */
function scalar(field, value, where, wrong) {
	const say = () => wrong.push(`${where}: ${field.type} ${JSON.stringify(value)}`);
	const type = field.resolvedType ? 'enum' : field.type;

	if (type === 'enum') {
		if (!Number.isInteger(value) || field.resolvedType.valuesById[value] === undefined)
			say();
		return value;
	}
	if (bounds[type]) {
		if (typeof value !== 'string' || !/^(0|-?[1-9][0-9]*)$/.test(value) || BigInt(value) < bounds[type][0] || BigInt(value) >= bounds[type][1])
			say();
		return value;
	}
	if (smallBounds[type]) {
		if (!Number.isInteger(value) || value < smallBounds[type][0] || value >= smallBounds[type][1])
			say();
		return value;
	}
	if (type === 'bytes') {
		if (typeof value !== 'string' || !new RegExp(`^[0-9a-f]{${2 * idBytes[field.name]}}$`).test(value) || /^0+$/.test(value)) {
			say();
			return '';
		}
		return Buffer.from(value, 'hex').toString('base64');
	}
	if (typeof value !== { string: 'string', bool: 'boolean', double: 'number' }[type])
		say();
	return value;
}

function message(type, object, where, wrong) {
	const result = {};

	if (object === null || typeof object !== 'object' || Array.isArray(object)) {
		wrong.push(`${where} is no object`);
		return result;
	}
	for (const [name, value] of Object.entries(object)) {
		const field = type.fields[name];
		const here = `${where}.${name}`;

		if (!field || field.repeated !== Array.isArray(value)) {
			wrong.push(field ? `${here}: a list, or none?` : `${here} is not known`);
			continue;
		}
		const one = (item) => (field.resolvedType?.fields ? message(field.resolvedType, item, here, wrong) : scalar(field, item, here, wrong));

		result[name] = field.repeated ? value.map(one) : one(value);
	}
	for (const choice of type.oneofsArray)
		if (!choice.isProto3Optional && choice.fieldsArray.filter((field) => field.name in object).length > 1)
			wrong.push(`${where}: ${choice.name} is more than one`);
	return result;
}

function check(request) {
	const wrong = [];
	const [name] = Object.keys(request);
	const type = requestOf[name] && getProtoRoot().lookupType(requestOf[name]);

	if (!type)
		return { name, count: 0, wrong: [`${name} is no request`] };
	type.root.resolveAll();
	const object = message(type, request, name, wrong);
	const bad = type.verify(type.fromObject(object));
	const back = type.toObject(type.decode(type.encode(type.fromObject(object)).finish()), { longs: String, bytes: String });

	if (bad)
		wrong.push(bad);
	if (!wrong.length && JSON.stringify(sorted(back)) !== JSON.stringify(sorted(object)))
		wrong.push('it is another one after a round trip');
	const scopes = (request[name] || []).flatMap((one) => one.scopeSpans || one.scopeLogs || []);

	return { name, count: scopes.flatMap((one) => one.spans || one.logRecords || []).length, wrong };
}

/* Without what is as good as absent: defaults, which the binary form does not have. */
function sorted(value) {
	if (Array.isArray(value))
		return value.map(sorted);
	if (value === null || typeof value !== 'object')
		return value;
	return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== 0 && one !== '0' && one !== '' && one !== false && !(Array.isArray(one) && !one.length))
		.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, sorted(one)]));
}

const print = (result) => console.log(JSON.stringify(result));

if (process.argv[2] === 'check') {
	for (const line of fs.readFileSync(process.argv[3], 'utf8').split('\n').filter(Boolean))
		print(check(JSON.parse(line)));
} else {
	const take = (request) => print(check(request));
	const server = new MockOtlpServer({ logLevel: 'error', services: ['http'], httpHostname: '127.0.0.1', httpPort: 0, onTrace: take, onLogs: take });

	server.start().then(() => console.log(server.httpUrl.origin));
}

/*
 * The route that a framework found for a request, for the name of its span: read when the response ends, from what the framework
 * keeps with the request anyway. Nothing of the program's is called for it: own properties that hold data are read, and what has a
 * getter is left alone, but for two of the frameworks' own that only return what they keep. What is not certain is no route.
 */

/* An object's own property, if it is data. */
function dataOf(object, name) {
	if ((typeof object !== "object" && typeof object !== "function") || object === null) {
		return undefined;
	}
	const found = getOwnPropertyDescriptor(object, name);
	return found === undefined ? undefined : found.value;
}

/* ---- Next.js: what it matched is with the request's other facts ---- */

const NEXT_META = Symbol.for("NextInternalRequestMeta");

function routeOfNext(message) {
	const route = dataOf(dataOf(dataOf(dataOf(message, NEXT_META), "match"), "definition"), "pathname");
	return typeof route === "string" ? route : "";
}

/* ---- Express: the route's own path, behind those that its routers are mounted on ---- */

const MOUNTS_MAX = 16;
const LAYERS_MAX = 10000;

/*
 * The pattern that a router is mounted on. Older versions do not keep it, but what it last matched, and with which parameters: where
 * each of these is one segment, and one only, the pattern is that.
 */
function mountOf(layer) {
	const pattern = dataOf(layer, "rawPath");
	if (typeof pattern === "string") {
		return pattern === "/" ? "" : pattern;
	}
	const path = dataOf(layer, "path");
	const params = dataOf(layer, "params");
	const keys = dataOf(layer, "keys");
	if (pattern !== undefined || typeof path !== "string" || !Array.isArray(keys)) {
		return undefined;
	}
	const parts = path.split("/");
	for (const key of keys) {
		const name = typeof key === "string" ? key : dataOf(key, "name");
		const value = dataOf(params, name);
		const at = parts.indexOf(value);
		if (typeof name !== "string" || typeof value !== "string" || at < 0 || parts.lastIndexOf(value) !== at) {
			return undefined;
		}
		parts[at] = ":" + name;
	}
	return parts.join("/");
}

/* All ways from a router to a route, as patterns. undefined among them: one that cannot be told. */
function findRoute(router, route, above, found, left) {
	const stack = dataOf(router, "stack");
	if (!Array.isArray(stack) || left.mounts-- <= 0) {
		return;
	}
	for (const layer of stack) {
		if (left.layers-- <= 0) {
			found.add(undefined);
			break;
		}
		const handle = dataOf(layer, "handle");
		if (dataOf(layer, "route") === route) {
			found.add(above === undefined ? undefined : above + dataOf(route, "path"));
		} else if (handle !== router && Array.isArray(dataOf(handle, "stack"))) {
			const mount = above === undefined ? undefined : mountOf(layer);
			findRoute(handle, route, mount === undefined ? undefined : above + mount, found, left);
		}
	}
	left.mounts++;
}

/* Applications inside of applications know what they are mounted on. */
function mountsOf(app) {
	let path = "";
	for (let i = 0; i < MOUNTS_MAX && app; i++) {
		const parent = dataOf(app, "parent");
		const mount = dataOf(app, "mountpath");
		if (parent === undefined) {
			return path;
		}
		if (typeof mount !== "string") {
			break;
		}
		path = (mount === "/" ? "" : mount) + path;
		app = parent;
	}
	return undefined;
}

/* Version 4 keeps its router in a property; 5 behind a getter, which makes one if there is none yet: there is one, it found the route. */
function routerOf(app) {
	const kept = dataOf(app, "_router");
	if (kept !== undefined) {
		return kept;
	}
	const found = getOwnPropertyDescriptor(app, "router");
	return found !== undefined && found.get !== undefined ? apply(found.get, app, []) : undefined;
}

function routeOfExpress(message) {
	const route = dataOf(message, "route");
	if (route === undefined || typeof dataOf(route, "path") !== "string" || !Array.isArray(dataOf(route, "stack"))) {
		return "";
	}
	const known = Mark.get(route);
	if (known !== undefined) {
		return known;
	}
	/* Express puts its application's own object below each request. */
	const app = dataOf(getPrototypeOf(message), "app");
	const found = new Set();
	const above = typeof app === "function" ? mountsOf(app) : undefined;
	if (above !== undefined) {
		findRoute(routerOf(app), route, above, found, { mounts: MOUNTS_MAX, layers: LAYERS_MAX });
	}
	if (found.size !== 1 || found.has(undefined)) {
		return ""; // there may be more to see the next time
	}
	const [path] = found;
	Mark.set(route, path);
	return path;
}

/* ---- Fastify says it; Koa's routers write it into the context, which nothing leads to from the response ---- */

function watchRoutes() {
	subscribe("tracing:fastify.request.handler:start", ({ reply, route }) => {
		const request = Attach.get(reply.raw);
		const url = dataOf(route, "url");
		if (request && request.span !== undefined && typeof url === "string") {
			request.span.route = bytesOf(url);
		}
	});
	loaders.koa = (Koa) => {
		replace(Koa.prototype, "createContext", (original) => function createContext(message, response) {
			const context = apply(original, this, arguments);
			const request = response ? Attach.get(response) : undefined;
			if (request && request.span !== undefined) {
				request.span.context = context;
			}
			return context;
		});
	};
}

function routeOf(span, message) {
	try {
		const matched = dataOf(span.context, "_matchedRoute");
		if (typeof matched === "string") {
			return matched;
		}
		return routeOfNext(message) || routeOfExpress(message);
	} catch {
		return "";
	}
}

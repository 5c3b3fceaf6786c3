/*
 * Outgoing calls: their head lines, and whose their events are.
 */

function callFields(fields, host) {
	return native.call(Math.max(slotNow(), SILENT), fields, String(host));
}

/* The head of a ClientRequest is a string from here on: ours go in at the blank line that ends it. */
function watchCalls(http) {
	const proto = http.ClientRequest.prototype;
	override(proto, "_storeHeader", (upper) => function _storeHeader() {
		const result = apply(upper._storeHeader, this, arguments);
		try {
			const store = storage.getStore();
			attach(this, store === undefined ? null : store);
			const head = this._header;
			if (typeof head === "string" && head.endsWith("\r\n\r\n")) {
				const host = this.getHeader("host") || this.host || "";
				const fields = callFields(head.slice(head.indexOf("\r\n") + 2), host);
				if (fields !== undefined) {
					this._header = head.slice(0, -2) + fields + "\r\n";
				}
			}
		} catch {
			/* The head is as it was. */
		}
		return result;
	});
	override(proto, "emit", (upper) => {
		const bound = bindEmit(upper);
		return function emit(type, response) {
			if (type === "response" && response && Attach.has(this)) {
				attach(response, Attach.get(this));
			}
			return apply(bound, this, arguments);
		};
	});
}

/* fetch and every copy of undici. Runs after all other subscribers, which may have added a trace of their own. */
function watchUndici() {
	const channel = channels.channel("undici:request:create");
	function add(request) {
		const headers = request.headers;
		let fields = "";
		if (typeof headers === "string") {
			fields = headers;
		} else if (Array.isArray(headers)) {
			for (let i = 0; i + 1 < headers.length; i += 2) {
				fields += headers[i] + ":" + headers[i + 1] + "\n";
			}
		}
		const origin = String(request.origin);
		const added = callFields(fields, request.host || origin.slice(origin.indexOf("//") + 2));
		if (added !== undefined) {
			for (const line of added.split("\r\n", 16)) {
				const colon = line.indexOf(": ");
				if (colon > 0) {
					request.addHeader(line.slice(0, colon), line.slice(colon + 2));
				}
			}
		}
	}
	channel.subscribe(() => {});
	defineProperty(channel, "publish", {
		configurable: true,
		writable: true,
		value: function publish(message, name) {
			apply(getPrototypeOf(this).publish, this, [message, name]);
			try {
				add(message.request);
			} catch {
				/* It goes out as it is. */
			}
		},
	});
}

/*
 * A pool of undici's that has no free connection keeps a call's options, and makes the request of them when another call has
 * ended. It passes them on as they are: so they carry the context.
 */
function watchUndiciPools(undici) {
	const pools = getPrototypeOf(undici.Pool.prototype);
	const base = getPrototypeOf(pools);
	replace(base, "dispatch", (original) => {
		replace(pools, "dispatch", () => function dispatch(options) {
			if (!options || getPrototypeOf(options) !== Object.prototype || Attach.has(options)) {
				return apply(original, this, arguments);
			}
			const store = storage.getStore();
			const carrying = { ...options };
			attach(carrying, store === undefined ? null : store);
			return apply(original, this, [carrying, ...Array.prototype.slice.call(arguments, 1)]);
		});
		return function dispatch(options) {
			const store = options ? Attach.get(options) : undefined;
			return store === undefined ?
				apply(original, this, arguments) :
				storage.run(store === null ? undefined : store, apply, original, this, arguments);
		};
	});
}

/* http2-wrapper (under got) keeps calls until there is a session with room, and makes them when another call has ended. */
function watchHttp2Wrapper({ Agent }) {
	replace(Agent.prototype, "getSession", (original) => function getSession(origin, options, listeners) {
		for (const listener of Array.isArray(listeners) ? listeners : []) {
			if (!Attach.has(listener)) {
				const store = storage.getStore();
				attach(listener, null);
				replace(listener, "resolve", (resolve) => function (session) {
					return storage.run(store, apply, resolve, this, [session]);
				});
			}
		}
		return apply(original, this, arguments);
	});
}

/* The headers of a call by HTTP/2 with ours; undefined: there are none of ours. */
function headersOfCall(session, headers) {
	if (headers !== undefined && (headers === null || typeof headers !== "object" || Array.isArray(headers))) {
		return undefined; // refused, or a list
	}
	const own = { ...headers };
	let fields = "";
	for (const name of Object.keys(own)) {
		if (name[0] !== ":") {
			fields += name + ":" + own[name] + "\n";
		}
	}
	const added = callFields(fields, own[":authority"] || Attach.get(session) || "");
	if (added === undefined) {
		return undefined;
	}
	for (const line of added.split("\r\n", 16)) {
		const colon = line.indexOf(": ");
		if (colon > 0) {
			own[line.slice(0, colon)] = line.slice(colon + 2);
		}
	}
	for (const symbol of Object.getOwnPropertySymbols(headers || {})) {
		own[symbol] = headers[symbol];
	}
	return own;
}

function watchHttp2Session(proto) {
	if (Attach.has(proto)) {
		return;
	}
	attach(proto, null);
	replace(proto, "request", (original) => function request(headers, options) {
		let given;
		try {
			given = headersOfCall(this, headers);
		} catch {
			/* They are as they were. */
		}
		/* Once: a request that Node refuses may have cost the session. */
		const stream = apply(original, this, given === undefined ? arguments : [given, options]);
		const store = storage.getStore();
		bindOwnEmit(stream, store === undefined ? null : store);
		return stream;
	});
}

function watchHttp2(http2) {
	replace(http2, "connect", (original) => function connect(authority) {
		const session = runIn(null, original, this, arguments);
		watchHttp2Session(getPrototypeOf(session));
		const { hostname, host, port } = typeof authority === "string" ? new URL(authority) : authority;
		attach(session, (hostname || host || "localhost") + (port ? ":" + port : ""));
		return session;
	});
}

/*
 * Spans of calls: http and https, fetch and every copy of undici, HTTP/2. See spans.cjs. A call begins with its head and ends with its
 * response's head; its record waits for the rest.
 */

/* What the native side said of the call whose head was made last; undefined: it has no span. */
let told;

/* In place of native.call: head lines, behind what the call's span needs. */
function call(slot, fields, to) {
	const all = native.calling(slot, fields, to);
	if (all === undefined) {
		return undefined;
	}
	const state = IDS + 2 + all.charCodeAt(IDS) + 256 * all.charCodeAt(IDS + 1);
	told = { ids: all.slice(0, IDS), state: all.slice(IDS + 2, state) };
	return all.length > state ? all.slice(state) : undefined;
}

function beginCall(start, method, target, to, version) {
	const span = new Span(CLIENT, start, method, bytesOf(String(target)), version);
	span.host = bytesOf(String(to));
	span.ids = told.ids;
	span.state = told.state;
	told = undefined;
	return span;
}

function endCall(object, span) {
	Mark.set(object, undefined);
	if (span.held) {
		return;
	}
	span.held = true;
	if (span.end === 0) {
		span.end = now();
	}
	if (span.status === 0 && span.error === 0) {
		span.error = UNANSWERED;
	}
	countBytes(span);
	native.span(PUSH, 0, putSpan(span));
	closeWire(span);
}

/* A connection was found for the call. What it brought so far is nobody's. */
function connected(span, socket) {
	openWire(span, socket);
	if (!span.wire.mixed) {
		span.wire.read = socket.bytesRead;
		span.wire.written = socket.bytesWritten;
	}
}

function answered(span, status) {
	span.first = span.end = now();
	span.status = status;
	if (span.wire !== undefined) {
		askPeer(span.wire);
	}
}

const CODES = {
	__proto__: null,
	ECONNREFUSED: REFUSED,
	ECONNRESET: RESET,
	EPIPE: RESET,
	ECONNABORTED: RESET,
	HPE_INVALID_CONSTANT: RESET,
	UND_ERR_SOCKET: CLOSED,
	ERR_STREAM_PREMATURE_CLOSE: CLOSED,
	ETIMEDOUT: TIMEOUT,
	ESOCKETTIMEDOUT: TIMEOUT,
	UND_ERR_CONNECT_TIMEOUT: TIMEOUT,
	UND_ERR_HEADERS_TIMEOUT: TIMEOUT,
	UND_ERR_BODY_TIMEOUT: TIMEOUT,
};

/* The name of what went wrong; what has no name is a response that never came. */
function errorOf(error) {
	if (!error) {
		return UNANSWERED;
	}
	const { code, name, cause } = error;
	if (name === "TimeoutError" || (cause && cause.name === "TimeoutError")) {
		return TIMEOUT;
	}
	return CODES[code] || UNANSWERED;
}

/* A call failed. Who leaves after the head of the response had what he wanted. */
function failed(span, error, byUs) {
	const why = span.timedOut && span.status === 0 ? TIMEOUT : errorOf(error);
	if (span.status === 0) {
		span.error = byUs && why !== TIMEOUT ? UNANSWERED : why;
	} else if (!byUs && why !== UNANSWERED) {
		span.error = why;
	}
	if (span.error !== 0) {
		span.end = now();
	}
}

function noteCall(request, span, type, first) {
	switch (type) {
	case "socket":
		if (span.wire === undefined) {
			connected(span, first);
		}
		break;
	case "response":
		answered(span, first.statusCode);
		span.version = first.httpVersionMajor * 10 + first.httpVersionMinor;
		Mark.set(first, span);
		break;
	case "upgrade":
	case "connect":
		answered(span, first.statusCode);
		span.flags |= UPGRADED;
		endCall(request, span);
		break;
	case "timeout":
		span.timedOut = true;
		break;
	case "error":
		failed(span, first, request.destroyed);
		endCall(request, span);
		break;
	case "close":
		/* Its connection is gone. Who destroyed the response himself left no error in it. */
		if (request.res && !request.res.complete) {
			const { errored } = request.res._readableState;
			failed(span, errored, !errored);
		}
		endCall(request, span);
		break;
	default:
	}
}

/* Headers that were given as a list are in the head only. */
function hostOf(request) {
	const kept = request.getHeader("host");
	const found = kept === undefined ? /\r\nhost: *([^\r\n]*)/i.exec(request._header) : null;
	return kept || (found === null ? request.host : found[1]) || "";
}

function watchCallSpans({ ClientRequest, IncomingMessage }) {
	override(ClientRequest.prototype, "_storeHeader", (upper) => function _storeHeader() {
		const start = now();
		told = undefined;
		const result = apply(upper._storeHeader, this, arguments);
		if (told !== undefined) {
			try {
				const span = beginCall(start, this.method, this.path, hostOf(this), 11);
				span.flags = this.protocol === "https:" ? TLS : 0;
				if (this.socket) {
					connected(span, this.socket);
				}
				Mark.set(this, span);
			} catch {
				/* It has none. */
			}
		}
		return result;
	});
	override(ClientRequest.prototype, "emit", (upper) => function emit(type, first) {
		const span = Mark.get(this);
		if (span !== undefined) {
			try {
				noteCall(this, span, type, first);
			} catch {
				Mark.set(this, undefined);
			}
		}
		return apply(upper.emit, this, arguments);
	});
	/* The program may end its own response when it has all of this one. */
	override(IncomingMessage.prototype, "emit", (upper) => function emit(type, first) {
		if (type === "end" || type === "close" || type === "error") {
			const span = Mark.get(this);
			if (span !== undefined) {
				try {
					if (type === "error") {
						failed(span, first, this.req.destroyed);
					}
					endCall(this, span);
				} catch {
					Mark.set(this, undefined);
				}
			}
		}
		return apply(upper.emit, this, arguments);
	});
}

/* ---- fetch and undici ---- */

function watchUndiciSpans() {
	const channel = channels.channel("undici:request:create");
	const { publish: add } = channel;
	defineProperty(channel, "publish", {
		configurable: true,
		writable: true,
		value: function publish(message, name) {
			const start = now();
			told = undefined;
			apply(add, this, [message, name]);
			if (told !== undefined) {
				try {
					const { request } = message;
					const origin = String(request.origin);
					const span = beginCall(start, request.method, request.path, request.host || origin.slice(origin.indexOf("//") + 2), 11);
					span.flags = origin.startsWith("https:") ? TLS : 0;
					Mark.set(request, span);
				} catch {
					/* It has none. */
				}
			}
		},
	});
	function on(event, note) {
		subscribe(event, (message) => {
			const span = Mark.get(message.request);
			if (span !== undefined) {
				note(span, message);
			}
		});
	}
	on("undici:client:sendHeaders", (span, { socket }) => {
		if (span.wire === undefined) {
			connected(span, socket);
			span.version = socket.alpnProtocol === "h2" ? 20 : 11;
		}
	});
	on("undici:request:headers", (span, { response }) => {
		if (response.statusCode >= 200 || response.statusCode === 101) {
			answered(span, response.statusCode);
			span.flags |= response.statusCode === 101 ? UPGRADED : 0;
		}
	});
	on("undici:request:trailers", (span, { request }) => endCall(request, span));
	on("undici:request:error", (span, { request, error }) => {
		failed(span, error, error && (error.name === "AbortError" || error.code === "UND_ERR_ABORTED"));
		endCall(request, span);
	});
}

/* ---- HTTP/2 calls ---- */

function watchSessionSpans(session) {
	const proto = getPrototypeOf(session);
	if (Mark.get(proto) !== undefined) {
		return;
	}
	Mark.set(proto, true);
	replace(proto, "request", (original) => function request(headers) {
		const start = now();
		told = undefined;
		const stream = apply(original, this, arguments);
		if (told !== undefined) {
			try {
				traceCalledStream(stream, start, this, headers || {});
			} catch {
				/* It has none. */
			}
		}
		return stream;
	});
}

function traceCalledStream(stream, start, session, headers) {
	const to = headers[":authority"] || headers.host || Attach.get(session) || "";
	const span = beginCall(start, headers[":method"] || "GET", headers[":path"] || "/", to, 20);
	span.flags = session.encrypted === true ? TLS : 0;
	Mark.set(stream, span);
	override(stream, "emit", (upper) => function emit(type, first) {
		if (Mark.get(stream) === span) {
			try {
				noteStream(stream, span, type, first);
			} catch {
				Mark.set(stream, undefined);
			}
		}
		return apply(upper.emit, this, arguments);
	});
}

function noteStream(stream, span, type, first) {
	switch (type) {
	case "response":
		if (stream.session) {
			span.wire = wireOfSession(stream.session);
			span.flags = stream.session.encrypted === true ? TLS : 0;
		}
		answered(span, Number(first[":status"]));
		break;
	case "timeout":
		span.timedOut = true;
		break;
	case "error":
		failed(span, first, first && (first.code === "ABORT_ERR" || stream.rstCode === CANCEL));
		endCall(stream, span);
		break;
	case "end":
	case "close":
		endCall(stream, span);
		break;
	default:
	}
}

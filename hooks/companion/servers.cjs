/*
 * Served requests: where they begin and end.
 */

function watchServers(http) {
	override(http.IncomingMessage.prototype, "emit", bindEmit);
	override(http.ServerResponse.prototype, "emit", (upper) => function emit(type) {
		const request = Attach.get(this);
		const last = type === "close";
		if (!request || (!last && !isHeard(this, type))) {
			return apply(upper.emit, this, arguments);
		}
		/* What an ended response tells its listeners is about its request: access lines are written there. */
		const before = telling;
		if (request.answered || last) {
			telling = request;
		}
		try {
			if (!isHeard(this, type) || storage.getStore() === request) {
				return apply(upper.emit, this, arguments);
			}
			const args = [];
			for (let i = 0; i < arguments.length; i++) {
				args[i] = arguments[i];
			}
			return storage.run(request, apply, upper.emit, this, args);
		} finally {
			telling = before;
			if (last) {
				close(request);
			}
		}
	});
	override(http.ServerResponse.prototype, "end", (upper) => function end() {
		const request = Attach.get(this);
		if (request && !request.answered) {
			answer(request);
		}
		return apply(upper.end, this, arguments);
	});
}

/* Call what is about this message's request, which may have been answered by now. */
function about(message, original, self, args) {
	const request = message ? Attach.get(message) : undefined;
	if (!(request instanceof Request)) {
		return apply(original, self, args);
	}
	const before = telling;
	telling = request;
	try {
		return runIn(request, original, self, args);
	} finally {
		telling = before;
	}
}

/* TRACESHIM_RESPONSE_HEADER: the client is told the trace id, at the blank line that ends the head. */
function watchResponses(http) {
	const name = native.responseHeader;
	if (name === "") {
		return;
	}
	override(http.ServerResponse.prototype, "_storeHeader", (upper) => function _storeHeader() {
		const result = apply(upper._storeHeader, this, arguments);
		const request = Attach.get(this);
		const head = this._header;
		if (request && typeof head === "string" && head.endsWith("\r\n\r\n") &&
			!head.toLowerCase().includes("\n" + name.toLowerCase() + ":")) {
			const trace = native.trace(slotOf(request));
			if (trace !== undefined) {
				this._header = head.slice(0, -2) + name + ": " + trace + "\r\n\r\n";
			}
		}
		return result;
	});
}

function served({ request, response }) {
	prepare();
	const begun = begin(request.rawHeaders);
	Attach.set(request, begun); // both are new: to look for what is not there is dear
	Attach.set(response, begun);
	storage.enterWith(begun);
}

/* Upgrades, CONNECT and HTTP/2 reach the program by their server's events only. */
function watchServer(server) {
	if (Attach.has(server)) {
		return;
	}
	attach(server, null);
	replace(server, "emit", (original) => function emit(type, first, second) {
		if (type === "upgrade" || type === "connect") {
			if (first && first.rawHeaders && second) {
				return upgraded(original, this, arguments, first, second);
			}
		} else if (type === "stream" && first && second) {
			return streamed(original, this, arguments, first, second);
		}
		return apply(original, this, arguments);
	});
}

function upgraded(original, server, args, message, socket) {
	const begun = begin(message.rawHeaders);
	attach(message, begun);
	followOwnEmit(socket, begun);
	/* Its answer is whatever follows; nobody waits for it. */
	begun.answered = true;
	unanswered--;
	begun.of = begun;
	if (isTraced) {
		traceUpgrade(begun, message, socket);
	}
	return storage.run(begun, apply, original, server, args);
}

function streamed(original, server, args, stream, headers) {
	const head = [];
	for (const name of Object.keys(headers)) {
		head.push(name, String(headers[name]));
	}
	const begun = begin(head);
	followOwnEmit(stream, begun);
	replace(stream, "end", (end) => function () {
		if (!begun.answered) {
			answer(begun);
		}
		return apply(end, this, arguments);
	});
	if (isTraced) {
		traceStream(begun, stream, headers, head);
	}
	return storage.run(begun, apply, original, server, args);
}

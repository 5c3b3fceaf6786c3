/*
 * Every configuration key, once. The parser's dispatch is made from this table, `traceshim` may print it, and a test
 * compares the README's table with it: a key that is not here does not exist.
 *
 * X(name, "KEY", "default", "what it does"): the default is text for people; "" is none. Order is the order of
 * evaluation: a later key wins over an earlier one that sets the same thing (TRACESHIM_FORMAT over the format named by
 * TRACESHIM_LOG).
 */
#ifndef TRACESHIM_CONFIG_KEYS_H
#define TRACESHIM_CONFIG_KEYS_H

/* clang-format off */
#define CONFIG_KEYS(X) \
	X(config, "TRACESHIM_CONFIG", "", \
	  "file of KEY=VALUE lines with these same keys; the environment wins over it") \
	X(enabled, "TRACESHIM_ENABLED", "on", \
	  "off: the object does nothing at all") \
	X(include, "TRACESHIM_INCLUDE", "", \
	  "trace only programs whose base name matches one of these globs (comma list)") \
	X(exclude, "TRACESHIM_EXCLUDE", "", \
	  "never trace programs whose base name matches one of these globs (comma list)") \
	X(raw, "TRACESHIM_RAW", "off", \
	  "on: served connections that are not HTTP get a request per direction flip") \
	X(root, "TRACESHIM_ROOT", "on", \
	  "off: an outgoing call outside any request gets no trace of its own") \
	X(log, "TRACESHIM_LOG", "json", \
	  "log lines: json, text (ids appended), off; or a format's name for json in that format") \
	X(format, "TRACESHIM_FORMAT", "otel", \
	  "field names of JSON records: otel, camel, ecs, datadog, gcp") \
	X(datadog_ids, "TRACESHIM_DATADOG_IDS", "hex", \
	  "ids in the datadog format: hex, or decimal of the low 64 bits") \
	X(log_files, "TRACESHIM_LOG_FILES", "", \
	  "more log files than stdout and stderr: globs of paths, separated by ':'; ** crosses '/'") \
	X(log_headers, "TRACESHIM_LOG_HEADERS", "", \
	  "request headers as log fields: header=field, or header alone (comma list)") \
	X(log_baggage, "TRACESHIM_LOG_BAGGAGE", "", \
	  "baggage members as log fields: key=field, or key alone (comma list)") \
	X(log_tty, "TRACESHIM_LOG_TTY", "off", \
	  "on: rewrite lines that go to a terminal, too") \
	X(log_class, "TRACESHIM_LOG_CLASS", "off", \
	  "on: records with ids say by trace_source how these are known: proven, validated") \
	X(unbuffer, "TRACESHIM_UNBUFFER", "on", \
	  "off: leave Python's output block-buffered; its lines then carry no ids") \
	X(headers, "TRACESHIM_HEADERS", "x-trace-id", \
	  "plain correlation headers, accepted and sent on (comma list, at most 4); none") \
	X(propagate, "TRACESHIM_PROPAGATE", "*", \
	  "hosts that get trace headers: name, *.name, .name, address, each with :port or not") \
	X(response_header, "TRACESHIM_RESPONSE_HEADER", "", \
	  "name of a response header that tells the client the trace id") \
	X(run_dir, "TRACESHIM_RUN_DIR", "/tmp/traceshim", \
	  "folder of the status files and of exported spans and lines; an absolute path") \
	X(traces_exporter, "OTEL_TRACES_EXPORTER", "none", \
	  "anything but none: as traces in TRACESHIM_EXPORT, which wins") \
	X(logs_exporter, "OTEL_LOGS_EXPORTER", "none", \
	  "anything but none: as logs in TRACESHIM_EXPORT, which wins") \
	X(export, "TRACESHIM_EXPORT", "none", \
	  "what is left for `traceshim agent`: traces, logs (comma list), or none") \
	X(ring_size, "TRACESHIM_RING_SIZE", "1048576", \
	  "bytes that each thread has for what the agent did not fetch yet, up to a power of two") \
	X(loop, "TRACESHIM_LOOP", "auto", \
	  "trust in event loops: auto, inline, single, off (of asyncio, too)") \
	X(attribution, "TRACESHIM_ATTRIBUTION", "proven", \
	  "validated: believe evidence, too, of which job a worker takes out of a queue") \
	X(stdio, "TRACESHIM_STDIO", "", \
	  "internal: which files the tree's stdout and stderr are; set for child programs") \
	X(library, "TRACESHIM_LIBRARY", "", \
	  "path of libtraceshim.so; read by the traceshim program only") \
	X(traceparent, "TRACEPARENT", "", \
	  "the trace this process belongs to (W3C Trace Context); also set for child programs") \
	X(tracestate, "TRACESTATE", "", \
	  "tracestate that goes with TRACEPARENT") \
	X(baggage, "BAGGAGE", "", \
	  "baggage that goes with TRACEPARENT") \
	X(resource_attributes, "OTEL_RESOURCE_ATTRIBUTES", "", \
	  "service.name, service.version and deployment.environment.name are used") \
	X(service_name, "OTEL_SERVICE_NAME", "", \
	  "name of the service; without it the program's base name") \
	X(propagators, "OTEL_PROPAGATORS", "tracecontext,baggage", \
	  "formats sent on: tracecontext, baggage, b3, b3multi, jaeger; none") \
	X(sdk_disabled, "OTEL_SDK_DISABLED", "false", \
	  "true: the object does nothing at all")
/* clang-format on */

#endif

#!/usr/bin/python3
"""An OTLP/HTTP and Loki receiver that believes nothing: every payload is checked field by field.

    otlp_receiver.py PORT FOLDER [STEP...]

What was taken goes to FOLDER/spans, FOLDER/lines and FOLDER/loki, one JSON object a line, in order of arrival; what is wrong with any
payload, taken or not, to FOLDER/wrong; each request's path and answer to FOLDER/requests. STEPs are answers, one a request, the
last for all that follow (default 200):

    200, 400, 503...   that status
    429:2, 503:date    with Retry-After in seconds, or as a date a second from now
    hang               no answer until the client is tired of it
    cut                the connection is closed
    garbage            bytes that are not HTTP
    junk               200 with a body that is not JSON
    endless            200 with a body that has no end
    partial:N          200, with N items rejected
    reset-after-take   taken, and then closed without an answer
    cut-at:TEXT        cut where TEXT is in the body, else 200
"""
import email.utils
import gzip
import http.server
import json
import os
import re
import sys
import threading
import time

HEX = {n: re.compile('[0-9a-f]{%d}' % n) for n in (16, 32)}
DECIMAL = re.compile('0|[1-9][0-9]*')
VALUES = {
    'stringValue': lambda v: isinstance(v, str),
    'boolValue': lambda v: isinstance(v, bool),
    'intValue': lambda v: isinstance(v, str) and re.fullmatch('-?(0|[1-9][0-9]*)', v) and abs(int(v)) < 1 << 63,
    'doubleValue': lambda v: isinstance(v, float),
    'arrayValue': lambda v: set(v) == {'values'},
}
# The type of each attribute that the agent may send.
ATTRIBUTES = {
    'stringValue': '''http.request.method http.request.method_original url.scheme url.path url.query url.full server.address http.route
        network.protocol.version user_agent.original client.address network.peer.address error.type log.iostream'''.split(),
    'intValue': '''thread.id server.port http.response.status_code http.request.size http.response.size network.peer.port
        traceshim.first_byte_ns'''.split(),
}
TYPE_OF = {name: kind for kind, names in ATTRIBUTES.items() for name in names}
REQUIRED = {2: {'http.request.method', 'url.path', 'url.scheme'}, 3: {'http.request.method', 'server.address', 'server.port', 'url.full'}}


class Wrong(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Wrong(what)


def exactly(thing, required, optional, where):
    need(isinstance(thing, dict), f'{where} is no object')
    need(required <= set(thing), f'{where} lacks {sorted(required - set(thing))}')
    need(set(thing) <= required | optional, f'{where} has {sorted(set(thing) - required - optional)}')


def identifier(text, digits, where):
    need(isinstance(text, str) and HEX[digits].fullmatch(text) and set(text) != {'0'}, f'{where} is no id: {text!r}')


def nanoseconds(text, where):
    need(isinstance(text, str) and DECIMAL.fullmatch(text) and 0 < int(text) < 1 << 63, f'{where} is no time: {text!r}')
    return int(text)


def attributes(found, where, known=None):
    need(isinstance(found, list), f'{where} is no list')
    got = {}
    for one in found:
        exactly(one, {'key', 'value'}, set(), where)
        need(isinstance(one['key'], str) and one['key'], f'{where}: a key is no string')
        need(one['key'] not in got, f"{where}: {one['key']} is there twice")
        need(isinstance(one['value'], dict) and len(one['value']) == 1, f'{where}: a value is not one')
        (kind, value), = one['value'].items()
        need(kind in VALUES and VALUES[kind](value), f"{where}: {one['key']} is {one['value']}")
        need(value != '', f"{where}: {one['key']} is empty")
        if known is not None:
            need(known.get(one['key']) == kind, f"{where}: {one['key']} is not known as {kind}")
        got[one['key']] = value
    return got


def check_status(span, got, where):
    exactly(span['status'], set(), {'code', 'message'}, where)
    code = span['status'].get('code', 0)
    need(type(code) is int and code in (0, 1, 2), f'{where}: status {code}')
    status = int(got.get('http.response.status_code', 0))
    if status >= (400 if span['kind'] == 3 else 500):
        need(code == 2 and 'error.type' in got, f'{where}: {status} is no error')
    need((code == 2) == ('error.type' in got), f'{where}: error.type and status disagree')


def check_span(span):
    exactly(span, {'traceId', 'spanId', 'flags', 'name', 'kind', 'startTimeUnixNano', 'endTimeUnixNano', 'attributes', 'status'},
            {'parentSpanId', 'traceState'}, 'span')
    identifier(span['traceId'], 32, 'traceId')
    identifier(span['spanId'], 16, 'spanId')
    if 'parentSpanId' in span:
        identifier(span['parentSpanId'], 16, 'parentSpanId')
    need(type(span['flags']) is int and 0 <= span['flags'] < 1 << 10, f"flags {span['flags']}")
    need(type(span['kind']) is int and span['kind'] in (2, 3), f"kind {span['kind']}")
    need(nanoseconds(span['startTimeUnixNano'], 'start') <= nanoseconds(span['endTimeUnixNano'], 'end'), 'it ends before it starts')
    got = attributes(span['attributes'], 'span', TYPE_OF)
    if 'http.request.method' in got:
        need(REQUIRED[span['kind']] - {'url.full'} <= set(got) or got['http.request.method'] == 'CONNECT', f'span lacks of {REQUIRED[span["kind"]]}: {got}')
        route = got.get('http.route')
        method = 'HTTP' if got['http.request.method'] == '_OTHER' else got['http.request.method']
        need(span['name'] == (f'{method} {route}' if route else method), f"name {span['name']!r}")
    check_status(span, got, 'span')
    return got


def check_line(line):
    exactly(line, {'timeUnixNano', 'observedTimeUnixNano', 'body', 'attributes'},
            {'severityNumber', 'severityText', 'traceId', 'spanId', 'flags'}, 'line')
    nanoseconds(line['timeUnixNano'], 'time')
    nanoseconds(line['observedTimeUnixNano'], 'observed')
    exactly(line['body'], {'stringValue'}, set(), 'body')
    need(isinstance(line['body']['stringValue'], str), 'body is no text')
    if 'severityNumber' in line:
        need(type(line['severityNumber']) is int and 1 <= line['severityNumber'] <= 24 and line.get('severityText'), 'severity')
    if 'traceId' in line:
        identifier(line['traceId'], 32, 'traceId')
    if 'spanId' in line:
        need('traceId' in line, 'a span without a trace')
        identifier(line['spanId'], 16, 'spanId')
    return attributes(line['attributes'], 'line', TYPE_OF)


def read_otlp(body, spans):
    outer, scopes, inner = ('resourceSpans', 'scopeSpans', 'spans') if spans else ('resourceLogs', 'scopeLogs', 'logRecords')
    exactly(body, {outer}, set(), 'body')
    taken = []
    for resource in body[outer]:
        exactly(resource, {'resource', scopes}, set(), outer)
        exactly(resource['resource'], {'attributes'}, set(), 'resource')
        of = attributes(resource['resource']['attributes'], 'resource')
        need('service.name' in of and 'telemetry.sdk.name' in of, 'the resource has no service.name')
        for scope in resource[scopes]:
            exactly(scope, {'scope', inner}, set(), scopes)
            exactly(scope['scope'], {'name', 'version'}, set(), 'scope')
            need(scope[inner], f'{inner} is empty')
            for item in scope[inner]:
                got = check_span(item) if spans else check_line(item)
                taken.append({**item, 'attributes': got, 'resource': of})
    need(taken or body == {outer: []}, 'nothing in it')  # without items: a question whether we answer
    return taken


def read_loki(body):
    exactly(body, {'streams'}, set(), 'body')
    taken = []
    for stream in body['streams']:
        exactly(stream, {'stream', 'values'}, set(), 'stream')
        need('service_name' in stream['stream'], 'no service_name')
        for name, value in stream['stream'].items():
            need(re.fullmatch('[a-zA-Z_][a-zA-Z0-9_]*', name) and isinstance(value, str), f'label {name}')
            need('trace' not in name and 'span' not in name, f'label {name}')
        for value in stream['values']:
            need(len(value) == 3 and isinstance(value[1], str) and isinstance(value[2], dict), f'value {value}')
            nanoseconds(value[0], 'time')
            need(all(isinstance(v, str) for v in value[2].values()), 'metadata is text')
            taken.append({'labels': stream['stream'], 'time': value[0], 'line': value[1], **value[2]})
    return taken


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    kinds = {'/v1/traces': ('spans', lambda b: read_otlp(b, True)), '/v1/logs': ('lines', lambda b: read_otlp(b, False)),
             '/loki/api/v1/push': ('loki', read_loki)}

    def log_message(self, *_):
        pass

    def answer(self, status, body=b'{}', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read(self):
        length = int(self.headers['Content-Length'])
        raw = self.rfile.read(length)
        need(len(raw) == length, 'it ends early')
        need(self.headers['Content-Type'] == 'application/json', 'Content-Type')
        need(self.headers.get('Expect') is None, 'Expect')
        if self.headers.get('Content-Encoding'):
            need(self.headers['Content-Encoding'] == 'gzip', 'Content-Encoding')
            raw = gzip.decompress(raw)
        need(self.path in self.kinds, f'path {self.path}')
        name, read = self.kinds[self.path]
        return name, read(json.loads(raw.decode('utf-8', 'strict'), object_pairs_hook=self.no_twins))

    @staticmethod
    def no_twins(pairs):
        need(len(dict(pairs)) == len(pairs), f'a key is there twice: {[k for k, _ in pairs]}')
        return dict(pairs)

    def do_POST(self):
        server = self.server
        name, items = None, []
        try:
            name, items = self.read()
        except (Wrong, ValueError, KeyError, TypeError) as error:
            server.write('wrong', f'{self.path}: {type(error).__name__} {error}')
        with server.lock:
            step = server.steps.pop(0) if len(server.steps) > 1 else server.steps[0]
        if step.startswith('cut-at:'):
            step = 'cut' if step[7:] in json.dumps(items) else '200'
        headers = {k: v for k, v in self.headers.items() if k.lower().startswith(('x-', 'authorization', 'user-agent'))}
        server.write('requests', json.dumps({'path': self.path, 'step': step, 'items': len(items), 'headers': headers}))
        if items and (step in ('200', '204', 'junk', 'endless', 'reset-after-take') or step.startswith('partial')):
            server.write(name or 'wrong', '\n'.join(json.dumps(item) for item in items))
        self.act(step)

    def act(self, step):
        if step == 'endless':
            self.close_connection = True
            self.wfile.write(b'HTTP/1.1 200 OK\r\n\r\n')
            try:
                while True:
                    self.wfile.write(b'x' * 65536)
            except OSError:
                return
        if step in ('cut', 'garbage', 'hang', 'reset-after-take'):
            if step == 'garbage':
                self.wfile.write(b'\x00\x01 what is this\r\n\r\n')
            while step == 'hang' and self.connection.recv(1):
                pass
            self.close_connection = True
            return
        status, _, more = step.partition(':')
        if step == 'junk':
            self.answer(200, b'<html>')
        elif status == 'partial':
            which = 'rejectedSpans' if 'traces' in self.path else 'rejectedLogRecords'
            self.answer(200, json.dumps({'partialSuccess': {which: more, 'errorMessage': 'too old'}}).encode())
        elif more:
            self.answer(int(status), Retry_After=email.utils.formatdate(time.time() + 1, usegmt=True) if more == 'date' else more)
        else:
            self.answer(int(status), b'' if status == '204' else b'{}')


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, folder, steps):
        super().__init__(('127.0.0.1', port), Handler)
        self.lock, self.folder, self.steps = threading.Lock(), folder, steps

    def handle_error(self, *_):
        pass

    def write(self, name, text):
        with self.lock, open(os.path.join(self.folder, name), 'a', encoding='utf-8') as file:
            file.write(text + '\n')


if __name__ == '__main__':
    Server(int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ['200']).serve_forever()

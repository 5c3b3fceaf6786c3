/*
 * The page: three views, chosen by the part of the address behind '#'. What comes from programs is shown by textContent only,
 * never as HTML. Times are nanoseconds in strings, and so BigInt until they are differences.
 */
'use strict';

const byId = (id) => document.getElementById(id);
const filters = ['service', 'text', 'status', 'slower', 'trace'];
const depthMax = 40;
let timer = 0;
let asked = 0;

function element(tag, className, text) {
	const node = document.createElement(tag);

	if (className)
		node.className = className;
	if (text !== undefined)
		node.textContent = text;
	return node;
}

const since = (from, to) => Number(BigInt(to) - BigInt(from)) / 1e6;

function duration(ms) {
	if (ms < 1)
		return `${Math.round(ms * 1000)} µs`;
	return ms < 1000 ? `${ms.toFixed(ms < 100 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function clock(ns) {
	const date = new Date(Number(BigInt(ns) / 1000000n));

	return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

const request = (span) => [span.method, span.route || span.path || span.host].filter(Boolean).join(' ') || 'exchange';

async function ask(path) {
	const answer = await fetch(path);

	if (!answer.ok)
		throw new Error(`${answer.status}`);
	return answer.json();
}

function requestRow(span) {
	const row = element('tr', 'open');
	const open = () => { location.hash = `trace/${span.trace}`; };

	row.tabIndex = 0;
	row.append(element('td', '', clock(span.start)), element('td', 'service', span.service),
		element('td', 'wide', span.route ? `${request(span)}  (${span.path})` : request(span)),
		element('td', span.isError ? 'bad' : '', span.error && !/^\d/.test(span.error) ? span.error : span.status || ''),
		element('td', 'number', duration(since(span.start, span.end))), element('td', 'dim', span.trace.slice(0, 8)));
	row.addEventListener('click', open);
	row.addEventListener('keydown', (event) => { if (event.key === 'Enter') open(); });
	return row;
}

/* Services are learned from what comes, and stay. */
function learnServices(requests) {
	const select = byId('service');
	const known = new Set([...select.options].map((option) => option.value));

	for (const name of new Set(requests.map((one) => one.service))) {
		if (known.has(name))
			continue;
		const option = element('option', '', name);

		option.value = name;
		select.append(option);
	}
}

async function showRequests() {
	const query = new URLSearchParams({ limit: 200 });

	for (const name of filters)
		if (byId(name).value.trim())
			query.set(name, byId(name).value.trim());
	if (byId('errors').checked)
		query.set('errors', '1');
	const mine = ++asked;
	const { requests } = await ask(`api/requests?${query}`);

	if (mine !== asked)
		return;
	learnServices(requests);
	const body = byId('list').tBodies[0];
	const focused = [...body.rows].indexOf(document.activeElement);

	/* They come in the order of arrival, which is not quite that of time where programs leave them in rings of their own. */
	requests.sort((a, b) => (BigInt(a.start) < BigInt(b.start) ? 1 : -1));
	body.replaceChildren(...requests.map(requestRow));
	if (focused >= 0 && body.rows[focused])
		body.rows[focused].focus();
	byId('nothing').hidden = requests.length > 0;
}

function groupBy(things, key) {
	const groups = new Map();

	for (const one of things)
		groups.has(one[key]) ? groups.get(one[key]).push(one) : groups.set(one[key], [one]);
	return (name) => groups.get(name) || [];
}

/* Spans as a tree in order of start, each with its lines; what hangs on nothing (or on itself) is a root. */
function order(spans, lines) {
	const rows = [];
	const known = new Set(spans.map((span) => span.span));
	const done = new Set();
	const linesOf = groupBy(lines, 'span');
	const spansBelow = groupBy(spans, 'parent');
	/* With a stack of its own: a trace may be thousands of calls deep. */
	const add = (root) => {
		const todo = [{ other: root, depth: 0 }];

		while (todo.length) {
			const { line, other, depth } = todo.pop();

			if (done.has(line || other))
				continue;
			done.add(line || other);
			rows.push(line ? { line, depth } : { span: other, depth });
			if (line)
				continue;
			const deeper = Math.min(depth + 1, depthMax);
			const below = [...linesOf(other.span).map((one) => ({ line: one, depth, at: BigInt(one.time) })),
				...spansBelow(other.span).map((one) => ({ other: one, depth: deeper, at: BigInt(one.start) }))];

			below.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
			while (below.length)
				todo.push(below.pop());
		}
	};

	spans.filter((span) => !known.has(span.parent)).forEach(add);
	spans.forEach(add);
	lines.filter((line) => !done.has(line)).forEach((line) => rows.push({ line, depth: 0 }));
	return rows;
}

function spanRow(span, depth, start, length) {
	const row = element('div', 'span');
	const name = element('div', span.isError ? 'name bad' : 'name');
	const track = element('div', 'track');
	const bar = element('div', `bar${span.kind === 3 ? ' call' : ''}${span.isError ? ' bad' : ''}`);
	const ms = since(span.start, span.end);

	name.style.paddingLeft = `${depth * 1.2}em`;
	name.append(element('strong', '', span.service), ` ${span.kind === 3 ? '→ ' : ''}${request(span)} `,
		element('span', span.isError ? 'bad' : 'dim', [span.status || '', /^\d/.test(span.error) ? '' : span.error].join(' ').trim()));
	name.title = [span.host, span.path].join('');
	bar.style.left = `${100 * since(start, span.start) / length}%`;
	bar.style.width = `${100 * ms / length}%`;
	bar.title = `${duration(ms)}, first byte after ${BigInt(span.firstByte) ? duration(since(span.start, span.firstByte)) : '?'}, ` +
		`${span.bytesIn} bytes in, ${span.bytesOut} out`;
	track.append(bar);
	row.append(name, element('div', 'number', duration(ms)), track);
	return row;
}

function lineRow(line, depth, start) {
	const row = element('div', /ERROR|FATAL/.test(line.severity) ? 'line bad' : 'line');

	row.style.paddingLeft = `${depth * 1.2 + 1.2}em`;
	row.append(element('span', 'dim', `+${duration(Math.max(0, since(start, line.time)))} `), line.severity ? `${line.severity} ` : '', line.text);
	return row;
}

async function showTrace(id) {
	const { spans, lines, left } = await ask(`api/trace/${id}`);
	const starts = spans.map((span) => BigInt(span.start));
	const ends = spans.map((span) => BigInt(span.end));
	const start = starts.reduce((a, b) => (a < b ? a : b), starts[0] ?? BigInt(lines[0]?.time ?? 0));
	const end = ends.reduce((a, b) => (a > b ? a : b), start);
	const length = Math.max(Number(end - start) / 1e6, 1e-6);

	byId('trace-title').textContent = `Trace ${id}: ${spans.length} spans, ${lines.length} lines, ${duration(length)}` +
		(left ? `; ${left} more are left out: --spans FILE and traceshim view show all` : '');
	byId('spans').replaceChildren(...order(spans, lines).map((row) =>
		(row.span ? spanRow(row.span, row.depth, start, length) : lineRow(row.line, row.depth, start))));
}

async function showOverview() {
	const { routes } = await ask('api/overview');

	byId('routes').tBodies[0].replaceChildren(...routes.map((route) => {
		const row = element('tr');

		row.append(element('td', 'service', route.service), element('td', 'wide', [route.method, route.route].filter(Boolean).join(' ')),
			element('td', 'number', route.count), element('td', route.errors ? 'number bad' : 'number', route.errors),
			...['p50', 'p95', 'max'].map((name) => element('td', 'number', duration(Number(route[name]) / 1e6))));
		return row;
	}));
}

async function show() {
	const trace = /^#trace\/([0-9a-f]{32})$/.exec(location.hash);
	const view = trace ? 'waterfall' : location.hash === '#overview' ? 'overview' : 'requests';

	clearTimeout(timer);
	for (const id of ['requests', 'waterfall', 'overview'])
		byId(id).hidden = id !== view;
	byId('to-requests').className = view === 'requests' ? 'here' : '';
	byId('to-overview').className = view === 'overview' ? 'here' : '';
	try {
		if (trace)
			await showTrace(trace[1]);
		else
			await (view === 'overview' ? showOverview() : showRequests());
		byId('state').textContent = '';
		byId('state').className = '';
	} catch (error) {
		byId('state').textContent = `the agent does not answer (${error.message})`;
		byId('state').className = 'bad';
	}
	clearTimeout(timer);
	if (view !== 'waterfall' && byId('live').checked)
		timer = setTimeout(show, 1000);
}

/* The token is in a cookie by now: it need not stand in the address, and so in histories and in what people copy. */
if (new URLSearchParams(location.search).has('token'))
	history.replaceState(null, '', location.pathname + location.hash);
addEventListener('hashchange', show);
byId('filter').addEventListener('input', show);
byId('filter').addEventListener('submit', (event) => event.preventDefault());
show();

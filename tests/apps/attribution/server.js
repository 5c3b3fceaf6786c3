// The attribution experiment's server in Node; see tests/programs/attribution_kit.h for what each request does.
//
//   node server.js KIND PORT UP
//
// KIND  http: calls by http.request, over kept connections; fetch: by fetch
'use strict';
const http = require('http');

const [kind, port, up] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

function ask(n) {
	return new Promise((resolve, reject) => {
		http.get({ port: up, host: '127.0.0.1', path: `/up?n=${n}`, agent }, (response) => {
			let text = '';

			response.setEncoding('utf8').on('data', (chunk) => (text += chunk)).on('end', () => resolve(text));
		}).on('error', reject);
	});
}

async function call(n) {
	const said = kind === 'fetch' ? await (await fetch(`http://127.0.0.1:${up}/up?n=${n}`)).text() : await ask(n);

	if (said !== `up n=${n}\n`)
		throw new Error('another\'s reply');
}

async function serve(request, response) {
	const n = Number(new URL(request.url, 'http://x').searchParams.get('n'));

	console.log(`begin n=${n}`);
	await call(n);
	console.log(`middle n=${n}`);
	await new Promise((resolve) => setTimeout(resolve, n % 3));
	console.log(`before n=${n}`);
	response.on('finish', () => console.log(`after n=${n}`));
	setImmediate(() => console.log(`background n=${n}`));
	response.end(`hello n=${n}\n`);
}

http.createServer(serve).listen(port, '127.0.0.1', 512);

import { Suspense } from "react";
import { later } from "../../../lib/later";
import { pause } from "../../../lib/pause";
import { priceOf } from "../../../lib/price";
import { askStock } from "../../../lib/stock";

async function Price({ number, sku }) {
	const price = await priceOf(number, sku);
	console.log(`request ${number}: shows the price of ${sku}`);
	return <b>{price}</b>;
}

async function Left({ number, sku }) {
	await pause();
	const left = await askStock(number, sku);
	console.log(`request ${number}: shows that ${left} are left of ${sku}`);
	return <i>{`${left} left`}</i>;
}

async function Reviews({ number, sku }) {
	for (let page = 1; page <= 3; page++) {
		await pause(15);
		console.log(`request ${number}: page ${page} of the reviews of ${sku}`);
	}
	return <p>{`reviews for request #${number}`}</p>;
}

export default async function Product({ params, searchParams }) {
	const { sku } = await params;
	const { n } = await searchParams;
	console.log(`request ${n}: looks at ${sku}`);
	await pause();
	later(() => console.log(`request ${n}: counted a look at ${sku}`));
	return (
		<main>
			<h1>{sku}</h1>
			<Suspense fallback="...">
				<Price number={n} sku={sku} />
			</Suspense>
			<Suspense fallback="...">
				<Left number={n} sku={sku} />
			</Suspense>
			<Suspense fallback="...">
				<Reviews number={n} sku={sku} />
			</Suspense>
		</main>
	);
}

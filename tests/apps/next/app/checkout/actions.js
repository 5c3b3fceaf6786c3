"use server";

import { redirect } from "next/navigation";
import { later } from "../../lib/later";
import { writeOrder } from "../../lib/orders";
import { pause } from "../../lib/pause";
import { priceOf } from "../../lib/price";
import { askStock } from "../../lib/stock";

async function chargeCard(number, amount) {
	console.log(`request ${number}: charging ${amount}`);
	await pause();
	await Promise.all([pause(), pause()]);
	console.log(`request ${number}: charged ${amount}`);
}

export async function placeOrder(form) {
	const number = form.get("number");
	const sku = form.get("sku");
	console.log(`request ${number}: placing an order for ${sku}`);
	await pause();
	const [price, left] = await Promise.all([priceOf(number, sku), askStock(number, sku)]);
	console.log(`request ${number}: ${sku} costs ${price}, ${left} left`);
	await chargeCard(number, price);
	await writeOrder({ number, sku, price });
	console.error(`request ${number}: order written`);
	later(async () => {
		await pause();
		console.log(`request ${number}: mail to the customer sent`);
	});
	redirect(`/orders/${number}?n=${number}`);
}

import { later } from "../../../lib/later";
import { writeOrder } from "../../../lib/orders";
import { pause } from "../../../lib/pause";
import { askStock } from "../../../lib/stock";

export async function GET(request) {
	const number = request.nextUrl.searchParams.get("n");
	console.log(`request ${number}: lists orders`);
	await pause();
	console.info(`request ${number}: orders listed`);
	return Response.json({ number: Number(number), orders: [] });
}

export async function POST(request) {
	const { number, sku } = await request.json();
	console.log(`request ${number}: an order for ${sku} by the API`);
	await pause();
	const left = await askStock(number, sku);
	console.log(`request ${number}: ${left} left`);
	await writeOrder({ number, sku });
	later(async () => {
		await pause();
		const now = await askStock(number, sku);
		console.log(`request ${number}: ${now} left afterwards`);
	});
	return Response.json({ number, left }, { status: 201 });
}

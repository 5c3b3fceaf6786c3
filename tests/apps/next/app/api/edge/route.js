import { pause } from "../../../lib/pause";
import { askStock } from "../../../lib/stock";

export const runtime = "edge";

export async function GET(request) {
	const number = request.nextUrl.searchParams.get("n");
	console.log(`request ${number}: asks at the edge`);
	await pause();
	const left = await askStock(number, "lamp");
	console.log(`request ${number}: ${left} left, says the edge`);
	return Response.json({ number: Number(number), left });
}

import { handled, log } from "../../../lib/log.js";

const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

export async function GET(request) {
	return handled(async () => {
		const article = request.nextUrl.searchParams.get("article");
		log(`stock of ${article} asked for`);
		await pause();
		log(`stock of ${article} is 7`);
		return Response.json({ article, stock: 7 });
	});
}

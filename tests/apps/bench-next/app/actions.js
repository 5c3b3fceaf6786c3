"use server";

import { handled, log } from "../lib/log.js";

const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

export async function order(article, amount) {
	return handled(async () => {
		log(`order of ${amount} ${article}`);
		await pause();
		log(`${article} reserved`);
		await pause();
		log(`order of ${amount} ${article} done`);
		return { article, amount, state: "done" };
	});
}

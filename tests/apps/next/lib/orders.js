import { appendFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pause } from "./pause";

/** The shop's books: one JSON object an order. */
export async function writeOrder(order) {
	await pause(10);
	await appendFile(process.env.ORDERS_FILE || join(tmpdir(), "orders.jsonl"), `${JSON.stringify(order)}\n`);
	await pause(10);
}

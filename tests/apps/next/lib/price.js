import { unstable_cache } from "next/cache";
import { pause } from "./pause";

/** A price is good for a second. Whoever asks first computes it, and says so. */
export function priceOf(number, sku) {
	const compute = unstable_cache(
		async () => {
			console.log(`request ${number}: no price for ${sku} in the cache`);
			await pause(40);
			console.log(`request ${number}: computed the price of ${sku}`);
			return 10 + sku.length;
		},
		["price", sku],
		{ revalidate: 1 },
	);
	return compute();
}

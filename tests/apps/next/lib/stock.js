/** Asks the stock service, which is another program in another language, how many pieces there are. */
export async function askStock(number, sku) {
	const answer = await fetch(`${process.env.STOCK_URL}/stock?n=${number}&sku=${encodeURIComponent(sku)}`, {
		cache: "no-store",
	});
	if (!answer.ok) {
		throw new Error(`request ${number}: the stock service says ${answer.status}`);
	}
	const stock = await answer.json();
	if (stock.n !== Number(number)) {
		throw new Error(`request ${number}: the stock service answered request ${stock.n}`);
	}
	return stock.left;
}

import { pause } from "../../lib/pause";
import { placeOrder } from "./actions";
import { Submit } from "./submit";

export default async function Checkout({ searchParams }) {
	const { n } = await searchParams;
	console.log(`request ${n}: shows the checkout`);
	await pause();
	console.log(`request ${n}: the checkout is ready`);
	return (
		<form action={placeOrder}>
			<input type="hidden" name="number" value={n} readOnly />
			<select name="sku">
				<option>lamp</option>
				<option>table</option>
				<option>armchair</option>
			</select>
			<Submit />
		</form>
	);
}

import { pause } from "../../../lib/pause";

export default async function Order({ params, searchParams }) {
	const { id } = await params;
	const { n } = await searchParams;
	console.log(`request ${n}: shows order ${id}`);
	await pause();
	if (id === "0") {
		throw new Error(`request ${n}: there is no order 0`);
	}
	console.log(`request ${n}: thanks for order ${id}`);
	return <p>Thank you for order {`#${id}`}</p>;
}

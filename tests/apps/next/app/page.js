import Link from "next/link";

export default function Home() {
	return (
		<main>
			<h1>A small shop</h1>
			<Link href="/checkout?n=0">Checkout</Link>
		</main>
	);
}

import { order } from "./actions.js";

async function submit(form) {
	"use server";
	return order(String(form.get("article")), Number(form.get("amount")));
}

export default function Page() {
	return (
		<form action={submit}>
			<input name="article" defaultValue="tea" />
			<input name="amount" defaultValue="2" />
			<button>Order</button>
		</form>
	);
}

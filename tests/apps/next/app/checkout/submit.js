"use client";

import { useFormStatus } from "react-dom";

export function Submit() {
	const { pending } = useFormStatus();
	return <button disabled={pending}>{pending ? "One moment ..." : "Order"}</button>;
}

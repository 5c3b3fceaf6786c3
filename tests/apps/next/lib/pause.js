/** What a database, a payment provider, a mail server take: a few milliseconds, never the same number of them. */
export function pause(most = 30) {
	return new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * most));
}

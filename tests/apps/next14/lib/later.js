/** Work that need not keep the customer waiting: before after() it was simply not awaited. */
export function later(work) {
	setTimeout(work, 1);
}

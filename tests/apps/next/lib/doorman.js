import { NextResponse } from "next/server";
import { pause } from "./pause";

/** Who comes in, and may they? */
export async function doorman(request) {
	const number = request.nextUrl.searchParams.get("n");
	console.log(`request ${number}: ${request.method} ${request.nextUrl.pathname} comes in`);
	await pause(10);
	console.log(`request ${number}: may see ${request.nextUrl.pathname}`);
	return NextResponse.next();
}

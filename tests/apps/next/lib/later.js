/** Work that need not keep the customer waiting. */
export { after as later } from "next/server";

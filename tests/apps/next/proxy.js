export { doorman as proxy } from "./lib/doorman";

export const config = { matcher: ["/checkout", "/orders/:path*", "/products/:path*", "/api/:path*"] };

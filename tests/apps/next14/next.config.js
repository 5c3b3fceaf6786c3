/** @type {import("next").NextConfig} */
module.exports = {
	output: "standalone",
	// The application is here, whatever lock files there are in the folders above.
	experimental: { outputFileTracingRoot: __dirname },
};

const config = {
	poweredByHeader: false,
	serverExternalPackages: ["pino"],
};

export default config;

// Requests go straight to this service: no proxy, no telemetry, no fonts or services of others.
Scalar.createApiReference("#explorer", {
  url: "/openapi.yaml",
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  agent: {disabled: true},
  mcp: {disabled: true},
  persistAuth: false,
  authentication: {preferredSecurityScheme: "bearer"},
  defaultHttpClient: {targetKey: "shell", clientKey: "curl"},
});

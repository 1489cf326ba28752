// Swagger UI 5.32.6 (Apache-2.0, see swagger-ui.LICENSE.txt) over this installation's own document.
window.ui = SwaggerUIBundle({
  url: "/schema/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});

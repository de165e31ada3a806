const response = await fetch("{{base_url}}/api/v7/images/text-to-image", {
  method: "POST",
  headers: { Authorization: "Bearer $API_KEY", "Content-Type": "application/json" },
  body: JSON.stringify({ model_id: "demo", prompt: "a red circle" }),
});
for (const name of ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]) {
  console.log(name, response.headers.get(name));
}

const response = await fetch("{{base_url}}/api/v7/account", {
  headers: { Authorization: "Bearer $API_KEY" },
});
const { data } = await response.json();
console.log(data.plan.name, data.limits.calls_per_minute, "calls a minute");

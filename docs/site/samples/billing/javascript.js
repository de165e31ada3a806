const response = await fetch("{{base_url}}/api/v7/account/usage?range=24h&group=model_id", {
  headers: { Authorization: "Bearer $API_KEY" },
});
const { data } = await response.json();
console.log(data.totals.calls, "calls,", data.totals.amount_usd, "dollars");
for (const row of data.rows) console.log(row.time, row.group, row.status, row.amount_microusd);

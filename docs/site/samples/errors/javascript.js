const response = await fetch("{{base_url}}/api/v7/images/text-to-image", {
  method: "POST",
  headers: { Authorization: "Bearer $API_KEY", "Content-Type": "application/json" },
  body: JSON.stringify({ model_id: "demo", prompt: "a red circle", width: 99999 }),
});
const reply = await response.json();
if (response.ok) console.log(reply.output);
else if (reply.code === "rate_limited") console.log("again in", reply.retry_after, "s");
else console.log(response.status, reply.code, reply.message);

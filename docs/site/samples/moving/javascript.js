const response = await fetch("{{base_url}}/api/v6/images/text2img", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    key: "$API_KEY", model_id: "demo", prompt: "a red circle", width: "256", height: "256",
    samples: "1", safety_checker: "no", seed: null, webhook: null,
  }),
});
const reply = await response.json();
console.log(reply.status, reply.output ?? reply.fetch_result);

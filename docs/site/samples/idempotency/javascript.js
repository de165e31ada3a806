async function draw(order) {
  const response = await fetch("{{base_url}}/api/v7/images/text-to-image", {
    method: "POST",
    headers: {
      Authorization: "Bearer $API_KEY",
      "Content-Type": "application/json",
      "Idempotency-Key": order,
    },
    body: JSON.stringify({ model_id: "demo", prompt: "a red circle" }),
  });
  return (await response.json()).id;
}

const [first, second] = [await draw("order-4711"), await draw("order-4711")];
console.log(first === second ? "the same job" : "two jobs", first);

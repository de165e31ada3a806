const headers = { Authorization: "Bearer $API_KEY", "Content-Type": "application/json" };
const post = async (url, body) =>
  (await fetch(url, { method: "POST", headers, body: JSON.stringify(body) })).json();

let reply = await post("{{base_url}}/api/v7/images/text-to-image", {
  model_id: "demo",
  prompt: "a red circle",
  instant_response: "yes",
});
let pause = 1000;
while (reply.status === "processing") {
  await new Promise((resolve) => setTimeout(resolve, pause));
  pause = Math.min(pause * 1.5, 10000);
  reply = await post(`{{base_url}}/api/v7/images/fetch/${reply.id}`, {});
}
console.log(reply.status, reply.output ?? reply.message);

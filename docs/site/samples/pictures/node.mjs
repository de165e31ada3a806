import { writeFile } from "node:fs/promises";

const response = await fetch("{{base_url}}/api/v7/images/text-to-image", {
  method: "POST",
  headers: { Authorization: "Bearer $API_KEY", "Content-Type": "application/json" },
  body: JSON.stringify({ model_id: "demo", prompt: "a red circle", seed: 4211, base64: "yes" }),
});
const reply = await response.json();
await writeFile("picture.png", Buffer.from(reply.output[0], "base64"));

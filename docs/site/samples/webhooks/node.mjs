import { createHmac, timingSafeEqual } from "node:crypto";

// True when `body` (a string) was signed with `secret` within the last five minutes.
function verify(secret, headers, body) {
  const sentAt = Number(headers["webhook-timestamp"]);
  if (Math.abs(Date.now() / 1000 - sentAt) > 300) return false;
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const right = createHmac("sha256", key).update(`${headers["webhook-id"]}.${sentAt}.${body}`).digest();
  return headers["webhook-signature"].split(" ").some((part) => {
    const given = Buffer.from(part.split(",")[1], "base64");
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

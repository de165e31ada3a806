// True when `body` (a string) was signed with `secret` within the last five minutes.
async function verify(secret, headers, body) {
  const sentAt = Number(headers["webhook-timestamp"]);
  if (Math.abs(Date.now() / 1000 - sentAt) > 300) return false;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const raw = bytes(secret.replace("whsec_", ""));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const signed = new TextEncoder().encode(`${headers["webhook-id"]}.${sentAt}.${body}`);
  for (const part of headers["webhook-signature"].split(" ")) {
    if (await crypto.subtle.verify("HMAC", key, bytes(part.split(",")[1]), signed)) return true;
  }
  return false;
}

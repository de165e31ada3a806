// One call at a time: sent, followed step by step, cancelled. Knows the service and nothing of the page.
import { say } from "./speech.js";

const POLL_MS = 700;

export async function ask(url, options = {}) {
  const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  if (response.redirected && response.url.includes("/accounts/")) {
    location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
    return null;
  }
  const id = response.headers.get("X-Request-Id");
  if (!response.headers.get("Content-Type")?.includes("json")) {
    throw Object.assign(new Error(say("The service could not answer ({status}).", { status: response.status })), { requestId: id });
  }
  const reply = await response.json();
  if (response.ok) return reply;
  throw Object.assign(new Error(reply.message), { code: reply.code, requestId: id });
}

// Calls `onChange` with the job until it has ended; stops when `isWanted` says no.
export async function follow(id, onChange, isWanted) {
  for (;;) {
    const job = await ask(`/playground/jobs/${id}`);
    if (!job || !isWanted()) return null;
    if (job.settled) return job;
    onChange(job);
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? POLL_MS * 5 : POLL_MS));
  }
}

// The picture as it becomes, in `place`, once each preview has come whole; null empties it.
export function becoming(place, address) {
  place.dataset.wanted = address ?? "";
  if (!address) { place.replaceChildren(); return; }
  if (place.firstChild?.src === new URL(address, location.href).href) return;
  const next = Object.assign(new Image(), { alt: "", src: address });
  next.addEventListener("load", () => { if (place.dataset.wanted === address) place.replaceChildren(next); });
}

export function cancel(id, token) {
  return ask(`/playground/jobs/${id}/cancel`, { method: "POST", headers: { "X-CSRFToken": token } });
}

export function phase(job, startedMs) {
  const elapsed = say("{seconds} s so far", { seconds: Math.round((Date.now() - startedMs) / 1000) });
  if (job.state !== "running") {
    const place = job.position ? say("In the queue, {count} before it", { count: job.position }) : say("In the queue");
    return [place, `${say("About {seconds} s to go", { seconds: job.eta_s })}, ${elapsed}`];
  }
  if (!job.step) return [say("Starting: the model is loaded if it is not"), elapsed];
  if (job.step >= job.steps) return [say("Saving"), elapsed];
  return [say("Rendering"), `${say("Step {step} of {steps}", { step: job.step, steps: job.steps })}, ${elapsed}`];
}

// The playground: the form's values as code, the price before the click, one call at a time followed to its pictures.
// Without this module the form still works: the server answers with the call's own page.
import { announce } from "./announce.js";

const form = document.querySelector("[data-playground]");
const POLL_MS = 700;
const KEEP = `playground:${form?.dataset.model}`;

// The call's body: what differs from the defaults, with numbers as numbers.
function body() {
  const fields = { model_id: form.dataset.model };
  for (const control of form.querySelectorAll("[data-kind]")) {
    if (control.type === "checkbox") {
      if (control.checked) fields[control.name] = true;
      continue;
    }
    const value = control.value.trim();
    const always = ["prompt", "width", "height"].includes(control.name);
    if (value === "" || (!always && value === control.dataset.default)) continue;
    fields[control.name] = ["integer", "number"].includes(control.dataset.kind) ? Number(value) : value;
  }
  return fields;
}

const quote = (value) => JSON.stringify(value);
const python = (value) => (value === true ? "True" : quote(value));

const WRITERS = {
  curl: (text, fields) => text.replace(/-d '[\s\S]*'$/, () => `-d '${quote(fields).replaceAll("'", "'\\''")}'`),
  python: (text, fields) => text.replace(/json\.dumps\(\{[\s\S]*?\}\)\.encode/, () =>
    `json.dumps({${Object.entries(fields).map(([name, value]) => `${quote(name)}: ${python(value)}`).join(", ")}}).encode`),
  javascript: (text, fields) => text.replace(/JSON\.stringify\(\{[\s\S]*?\}\)/, () =>
    `JSON.stringify(${JSON.stringify(fields, null, 2).replaceAll("\n", "\n  ")})`),
  php: (text, fields) => text.replace(/'content' => '[\s\S]*?',\n    'timeout'/, () =>
    `'content' => '${quote(fields).replaceAll("\\", "\\\\").replaceAll("'", "\\'")}',\n    'timeout'`),
  java: (text, fields) => text.replace(/ofString\("[\s\S]*?"\)\)\n/, () =>
    `ofString("${quote(fields).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"))\n`),
};
WRITERS.node = WRITERS.javascript;

function show(code) {
  for (const pre of document.querySelectorAll("#api pre[data-language]")) {
    const write = WRITERS[pre.dataset.language];
    if (write) pre.firstElementChild.textContent = write(pre.textContent, code);
  }
}

// Prices are whole micro-dollars; at least four decimals, as on the rest of the site.
function dollars(microusd) {
  const whole = Math.trunc(microusd / 1_000_000);
  const micro = String(microusd % 1_000_000).padStart(6, "0");
  return `$${whole.toLocaleString("en")}.${micro.endsWith("00") ? micro.slice(0, 4) : micro}`;
}

function update() {
  const samples = Math.max(1, Math.trunc(Number(form.elements.samples?.value) || 1));
  form.querySelector("[data-total]").textContent = dollars(samples * Number(form.dataset.price));
  show(body());
  try { sessionStorage.setItem(KEEP, JSON.stringify([...new FormData(form)].filter(([name]) => name !== "csrfmiddlewaretoken"))); } catch { /* nothing is kept then */ }
}

function restore() {
  const asked = new URLSearchParams(location.search);
  let kept = [];
  try { kept = JSON.parse(sessionStorage.getItem(KEEP) ?? "[]"); } catch { /* an old form: start afresh */ }
  for (const [name, value] of [...kept, ...asked]) {
    const control = form.elements[name];
    if (!control?.dataset?.kind) continue;
    if (control.type === "checkbox") control.checked = value === "yes";
    else control.value = value;
  }
}

const out = document.querySelector("[data-out]");
const part = (name) => out.querySelector(`[data-${name}]`);
let running = null;

function phase(job) {
  if (job.state === "running") return job.step ? "Rendering" : "Starting";
  return job.position ? `In the queue, ${job.position} before it` : "In the queue";
}

function progress(job) {
  part("empty").hidden = true;
  part("fault").hidden = true;
  part("progress").hidden = false;
  part("phase").textContent = job ? phase(job) : "Sending";
  const bar = out.querySelector("progress");
  bar.max = job?.steps || 1;
  bar.value = job?.step || 0;
  part("detail").textContent = !job ? "" : job.step ? `Step ${job.step} of ${job.steps}` : `About ${job.eta_s} s`;
}

function fault(text, code) {
  part("progress").hidden = true;
  const box = part("fault");
  box.hidden = false;
  box.className = "alert alert-bad";
  box.textContent = `${text} ${code ? `(${code}) ` : ""}Nothing was charged.`;
  announce(text);
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function vary(job, picture) {
  for (const [name, value] of Object.entries(job.asked)) {
    const control = form.elements[name];
    if (control?.dataset?.kind && control.type !== "checkbox") control.value = value;
  }
  form.elements.seed.value = picture.seed;
  form.querySelector("details").open = true;
  form.elements.seed.focus();
  update();
}

function figure(job, picture) {
  const image = make("img", { src: picture.url, alt: job.prompt, width: picture.width, height: picture.height });
  const link = make("a", { href: job.url }, image);
  const facts = make("figcaption", {}, make("strong", { textContent: `${picture.width} × ${picture.height}` }),
    make("span", { textContent: `seed ${picture.seed} · ${job.took} · ${job.charged}${picture.flagged ? " · filtered" : ""}` }));
  const download = make("a", { className: "button button-second button-s", href: picture.url, download: `${job.id}.png`, textContent: "Download" });
  const recall = make("button", { className: "button button-second button-s", type: "button", textContent: "Use these settings" });
  recall.addEventListener("click", () => vary(job, picture));
  return make("div", {}, make("figure", { className: "frame" }, link, facts), make("div", { className: "row tile-check" }, download, recall));
}

function finish(job) {
  part("progress").hidden = true;
  if (!job.pictures.length) {
    fault(job.error || "This call was cancelled.", job.code);
    if (!out.querySelector("figure img")) part("empty").hidden = false;
    return;
  }
  part("pictures").prepend(...job.pictures.map((picture) => figure(job, picture)));
  part("pictures").classList.toggle("pictures-wide", true);
  announce(`${job.pictures.length} picture${job.pictures.length > 1 ? "s" : ""} made in ${job.took}`);
}

async function ask(url, options = {}) {
  const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  if (response.redirected && response.url.includes("/accounts/")) {
    location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
    return null;
  }
  if (!response.headers.get("Content-Type")?.includes("json")) {
    const id = response.headers.get("X-Request-Id");
    throw new Error(`The service could not answer (${response.status}${id ? `, request ${id}` : ""}). Try again.`);
  }
  const reply = await response.json();
  if (response.ok) return reply;
  throw Object.assign(new Error(reply.message), { code: reply.code });
}

async function follow(id) {
  for (;;) {
    const job = await ask(`/playground/jobs/${id}`);
    if (!job || running !== id) return;
    if (job.settled) { finish(job); return; }
    progress(job);
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? POLL_MS * 5 : POLL_MS));
  }
}

async function run() {
  const button = form.querySelector("[data-run]");
  button.setAttribute("aria-disabled", "true");
  progress(null);
  try {
    const job = await ask(form.action, { method: "POST", body: new FormData(form) });
    if (!job) return;
    running = job.id;
    progress(job);
    await follow(job.id);
  } catch (problem) {
    fault(problem.message || "The service could not be reached.", problem.code);
  } finally {
    running = null;
    button.removeAttribute("aria-disabled");
  }
}

async function cancel() {
  if (!running) return;
  const token = form.elements.csrfmiddlewaretoken.value;
  await ask(`/playground/jobs/${running}/cancel`, { method: "POST", headers: { "X-CSRFToken": token } });
}

if (form) {
  restore();
  update();
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running && form.querySelector("[data-run]").getAttribute("aria-disabled") !== "true") run();
  });
  part("cancel").addEventListener("click", cancel);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel(); });
}

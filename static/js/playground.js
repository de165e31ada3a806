// The playground: the form's values as code, the price before the click, one call at a time followed to its pictures.
// Without this module the form still works: the server answers with the call's own page.
import { announce } from "./announce.js";
import { dollars, paymentText } from "./money.js";
import { codeShow, operationOf, replyShow } from "./playground-code.js";
import { inputUse, inputsSound, inputsStart } from "./playground-inputs.js";
import { ask, becoming, cancel, follow, phase } from "./playground-jobs.js";
import { fault, figure, intoSight, make } from "./playground-results.js";
import { numbers, say } from "./speech.js";

const form = document.querySelector("[data-playground]");
const KEEP = `playground:${form?.dataset.model}`;
const UNKEPT = ["csrfmiddlewaretoken"];
const out = document.querySelector("[data-out]");
const part = (name) => out.querySelector(`[data-${name}]`);
let running = null;
let stopping = false;
let pays = JSON.parse(document.getElementById("pays")?.textContent ?? "null");

function show() {
  const operation = operationOf(form)?.value ?? "text2img";
  for (const element of form.querySelectorAll("[data-only]")) {
    element.hidden = !element.dataset.only.split(" ").includes(operation);
  }
  const samples = form.elements.samples?.closest("[hidden]") ? 1 : Math.max(1, Math.trunc(Number(form.elements.samples?.value) || 1));
  const total = samples * Number(form.dataset.price);
  form.querySelector("[data-total]").textContent = dollars(total);
  for (const price of form.querySelectorAll("[data-plan-price]")) price.textContent = dollars(total);
  if (pays) form.querySelector("[data-after]").textContent = paymentText(pays, total);
  for (const area of form.querySelectorAll("[data-count]")) count(area);
  for (const row of form.querySelectorAll(".lora")) row.querySelector("output").value = row.querySelector("input").value;
  for (const preset of form.querySelectorAll("[data-size]")) {
    preset.setAttribute("aria-pressed", String(preset.dataset.size === `${form.elements.width?.value}x${form.elements.height?.value}`));
  }
  codeShow(form);
}

function count(area) {
  const hint = document.getElementById(`${area.id}-hint`);
  const place = hint.querySelector("[data-chars]") ?? hint.appendChild(make("span", { className: "tabular" }));
  place.dataset.chars = "";
  place.textContent = ` ${say("{count} of {limit} characters.", { count: area.value.length.toLocaleString(numbers), limit: area.maxLength.toLocaleString(numbers) })}`;
}

// A field that differs from its default can go back alone.
function resets() {
  for (const control of form.querySelectorAll(".field [data-kind][data-default]")) {
    const field = control.closest(".field");
    const back = make("button", { className: "link small", type: "button", textContent: say("Reset") });
    back.setAttribute("aria-label", say("Reset {field}", { field: field.querySelector("label").textContent.trim() }));
    back.addEventListener("click", () => { control.value = control.dataset.default; control.focus(); update(); });
    field.querySelector(".hint")?.append(" ", back);
    const look = () => { back.hidden = control.value === control.dataset.default || (control.tagName === "SELECT" && control.value === ""); };
    form.addEventListener("input", look);
    form.addEventListener("reset", () => setTimeout(look));
    look();
  }
}

function update() {
  show();
  const fields = [...new FormData(form)].filter(([name, value]) => !UNKEPT.includes(name) && typeof value === "string");
  try { sessionStorage.setItem(KEEP, JSON.stringify(fields)); } catch { /* nothing is kept then */ }
}

// What was entered before signing in; an address with fields of its own was filled by the server.
function restore() {
  if (location.search) return;
  let kept = [];
  try { kept = JSON.parse(sessionStorage.getItem(KEEP) ?? "[]"); } catch { /* an old form: start afresh */ }
  const seen = {};
  for (const [name, value] of kept) {
    const controls = [...form.querySelectorAll(`[name="${CSS.escape(name)}"]`)].filter((one) => one.type !== "file");
    if (controls[0]?.type === "radio") { for (const one of controls) one.checked = one.value === value; continue; }
    const control = controls[seen[name] = (seen[name] ?? -1) + 1];
    if (control?.type === "checkbox") control.checked = value === "yes";
    else if (control && control.type !== "hidden") control.value = value;
  }
}

function setOperation(name) {
  const radio = form.querySelector(`[name=operation][value="${name}"]`);
  if (radio?.type === "radio") radio.checked = true;
  return Boolean(radio);
}

const acts = {
  recall(job, seed) {
    form.reset();
    setOperation(job.operation);
    for (const [name, value] of Object.entries(job.asked)) {
      const control = form.querySelector(`[name="${CSS.escape(name)}"]`);
      if (control?.type === "checkbox") control.checked = value === true || value === "yes";
      else if (control?.dataset.kind && !["lora_model", "lora_strength"].includes(name)) control.value = value;
    }
    const [names, weights] = ["lora_model", "lora_strength"].map((name) => String(job.asked[name] ?? "").split(","));
    [...form.querySelectorAll(".lora")].forEach((row, at) => {
      row.querySelector("select").value = names[at] ?? "";
      row.querySelector("input").value = weights[at] || 1;
    });
    if (form.elements.seed) form.elements.seed.value = seed;
    form.querySelector("details").open = true;
    // After the reset's own events.
    setTimeout(() => { form.dispatchEvent(new Event("input", { bubbles: true })); form.elements.seed?.focus(); announce(say("Settings recalled")); });
  },
};
if (form?.querySelector("[name=operation][value=img2img]")) {
  acts.useAsInput = (url) => {
    setOperation("img2img");
    inputUse(form, "init_image", url);
    form.querySelector("[data-picture=init_image]").scrollIntoView({ block: "nearest" });
    announce(say("The picture is the input now"));
  };
}
if (form?.dataset.upscale) {
  acts.upscale = (url) => {
    const address = new URL(url, location.href).href;
    location.assign(`${form.dataset.upscale}?operation=upscale&init_image=${encodeURIComponent(address)}`);
  };
}

function progress([title, detail], job) {
  const tried = part("fault").contains(document.activeElement);
  part("empty").hidden = true;
  part("fault").hidden = true;
  part("progress").hidden = false;
  if (tried) part("cancel").focus();
  part("phase").textContent = title;
  part("detail").textContent = detail;
  const bar = out.querySelector("progress");
  if (!job || job.preview) becoming(part("becoming"), job?.preview);
  bar.max = job?.steps || 1;
  bar.value = job?.step || 0;
}

// What hides with the focus in it hands it on: a keyboard would start at the top of the page again.
function progressEnd(next) {
  const held = part("progress").contains(document.activeElement);
  part("progress").hidden = true;
  if (held) next().focus();
}

function failed(text, more) {
  if (!out.querySelector("figure img")) part("empty").hidden = false;
  fault(part("fault"), text, { ...more, retry: run });
  progressEnd(() => part("fault").querySelector("button"));
}

function finish(job) {
  replyShow(job.reply);
  pays = job.payment ?? pays;
  show();
  if (!job.pictures.length) {
    failed(job.error || say("This call was cancelled."), { code: job.code, requestId: job.request_id });
    return;
  }
  progressEnd(() => form.querySelector("[data-run]"));
  part("empty").hidden = true;
  part("pictures").prepend(...job.pictures.map((picture) => figure(job, picture, acts)));
  history.replaceState(null, "", `?job=${job.id}`);
  announce(say(job.pictures.length > 1 ? "{count} pictures made in {span}" : "One picture made in {span}", { count: job.pictures.length, span: job.took }));
}

async function run() {
  if (running) return;
  const button = form.querySelector("[data-run]");
  button.setAttribute("aria-disabled", "true");
  running = "sending";
  stopping = false;
  const startedMs = Date.now();
  progress([say("Sending"), ""], null);
  intoSight(out);
  try {
    const placed = await ask(form.action, { method: "POST", body: new FormData(form) });
    if (!placed) return;
    running = placed.id;
    if (stopping) stop();
    progress(phase(placed, startedMs), placed);
    const job = await follow(placed.id, (now) => progress(phase(now, startedMs), now), () => running === placed.id);
    if (job) finish(job);
  } catch (problem) {
    failed(problem.message || say("The service could not be reached."), problem);
  } finally {
    running = null;
    button.removeAttribute("aria-disabled");
  }
}

const stop = () => {
  stopping = true; // while it is being sent it has no id yet
  if (running && running !== "sending") cancel(running, form.elements.csrfmiddlewaretoken.value).catch(() => {});
};

if (form) {
  restore();
  inputsStart(form);
  resets();
  update();
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("click", (event) => {
    const size = event.target.closest("[data-size]")?.dataset.size;
    if (!size) return;
    [form.elements.width.value, form.elements.height.value] = size.split("x");
    form.dispatchEvent(new Event("input", { bubbles: true }));
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (inputsSound(form)) run();
  });
  part("cancel").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) stop(); });
  const shown = part("pictures").dataset.job;
  if (shown) ask(`/playground/jobs/${shown}`).then((job) => job?.settled && finish(job)).catch(() => {});
}

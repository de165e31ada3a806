// Compare mode: the total before the click, then each column's call followed to its picture. Two calls at a time, since
// plans limit how many may wait.
import { announce } from "./announce.js";
import { dollars } from "./money.js";
import { ask, follow, phase } from "./playground-jobs.js";
import { intoSight, make } from "./playground-results.js";
import { say } from "./speech.js";

const form = document.querySelector("[data-compare]");
const models = JSON.parse(document.getElementById("models")?.textContent ?? "{}");
const AT_ONCE = 2;
const TRIES_MAX = 40;
const AGAIN_MS = 1500;
let running = false;

const nameOf = (column) => column.querySelector("[name=model]").value.trim();

function update() {
  let total = 0;
  for (const column of form.querySelectorAll("[data-column]")) {
    const model = models[nameOf(column)];
    total += model?.price ?? 0;
    column.querySelector("[data-price]").textContent = model ? `${dollars(model.price)} · ${model.name}` : say(nameOf(column) ? "Not in the list: press Enter to look it up." : "Left out.");
  }
  form.querySelector("[data-total]").textContent = dollars(total);
}

function address() {
  const fields = [...new FormData(form)].filter(([name]) => name !== "csrfmiddlewaretoken");
  return `?${new URLSearchParams(fields)}`;
}

function state(column, text) {
  const place = column.querySelector("[data-place]");
  const line = make("span", { className: "small", textContent: text });
  place.replaceChildren(make("div", { className: "frame-wait" }, line));
}

async function placed(column, body) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask(models[nameOf(column)].run, { method: "POST", body });
    } catch (problem) {
      if (problem.code !== "queue_full" || tries >= TRIES_MAX) throw problem;
      state(column, say("Waiting for a place in your queue"));
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function draw(column) {
  const body = new FormData();
  for (const name of ["csrfmiddlewaretoken", "prompt", "negative_prompt", "width", "height"]) body.set(name, form.elements[name].value);
  for (const own of column.querySelectorAll("input:not([name=model])")) body.set(own.name, own.value);
  body.set("operation", "text2img");
  const startedMs = Date.now();
  state(column, say("Sending"));
  try {
    const job = await placed(column, body);
    if (!job) return;
    const done = await follow(job.id, (now) => state(column, phase(now, startedMs).join(". ")), () => true);
    const picture = done.pictures[0];
    if (!picture) { state(column, `${done.error || say("Cancelled.")} ${say("Nothing was charged.")}`); return; }
    const image = make("img", { src: picture.url, alt: done.prompt, width: picture.width, height: picture.height });
    const facts = make("figcaption", {}, make("strong", { textContent: nameOf(column) }), make("span", { textContent: `${say("seed {seed}", { seed: picture.seed })} · ${done.took} · ${done.charged}` }));
    column.querySelector("[data-place]").replaceChildren(make("a", { href: done.url }, image), facts);
  } catch (problem) {
    state(column, `${problem.message} ${say("Nothing was charged.")}`);
  }
}

async function run() {
  const columns = [...form.querySelectorAll("[data-column]")].filter((column) => models[nameOf(column)]);
  running = true;
  if (columns.length) intoSight(columns[0]);
  const waiting = [...columns];
  const worker = async () => { while (waiting.length) await draw(waiting.shift()); };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  running = false;
  announce(say("All columns have ended"));
}

if (form) {
  update();
  form.addEventListener("input", () => { update(); history.replaceState(null, "", address()); });
  form.addEventListener("submit", (event) => {
    const known = [...form.querySelectorAll("[data-column]")].every((column) => !nameOf(column) || models[nameOf(column)]);
    event.preventDefault();
    if (!known) location.assign(address());
    else if (!running) run();
  });
}

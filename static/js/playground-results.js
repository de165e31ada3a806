// Finished calls as pictures with what can be done next: download, copy, recall, vary, use as input, upscale, share, delete.
import { announce } from "./announce.js";
import { confirmed } from "./dialog.js";
import { ask } from "./playground-jobs.js";
import { say } from "./speech.js";

export function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const small = "button button-second button-s";

function button(text, label, act) {
  const element = make("button", { className: small, type: "button", textContent: text });
  element.setAttribute("aria-label", label);
  element.addEventListener("click", act);
  return element;
}

async function copyBase64(url) {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  await navigator.clipboard.writeText(btoa(text));
}

async function copied(act) {
  try {
    await act();
    announce(say("Copied"));
  } catch {
    announce(say("Copying failed: open the picture instead"));
  }
}

function post(job, act) {
  const token = document.querySelector("[data-playground] [name=csrfmiddlewaretoken]").value;
  return ask(`${job.url}/${act}`, { method: "POST", headers: { "X-CSRFToken": token } });
}

// The link takes the button's place: it can be seen, opened and copied again.
async function share(job, event) {
  const question = say("Make a link? Whoever has it sees these pictures with their prompt and settings, until you revoke it.");
  if (!await confirmed(question, say("Make the link"))) return;
  const button = event.target;
  try {
    const { url } = await post(job, "share");
    await copied(() => navigator.clipboard.writeText(url));
    const link = make("a", { className: small, href: url, textContent: say("Shared link") });
    button.replaceWith(link);
    link.focus();
    announce(say("The link is made and copied. The gallery lists it under shared links."));
  } catch (problem) {
    announce(problem.message);
  }
}

// All pictures of the call make room for one note, and come back in its place.
async function remove(job, event) {
  const figures = [...document.querySelectorAll(`[data-call="${job.id}"]`)];
  try {
    await post(job, "delete");
    const note = make("p", { className: "small dim" }, `${say("Deleted, for good in a week.")} `, button(say("Undo"), say("Undo the deletion of this call"), undo));
    figures[0].before(note);
    for (const shown of figures) shown.hidden = true;
    note.querySelector("button").focus();
    announce(say("Deleted. Undo stands in its place."));

    async function undo() {
      try {
        await post(job, "restore");
        note.remove();
        for (const shown of figures) shown.hidden = false;
        event.target.focus();
        announce(say("It is back"));
      } catch (problem) {
        announce(problem.message);
      }
    }
  } catch (problem) {
    announce(problem.message);
  }
}

// `acts` holds recall(job, seed), useAsInput(url), upscale(url); the last two may be missing.
export function figure(job, picture, acts) {
  const image = make("img", { src: picture.url, alt: job.prompt || say("The picture"), width: picture.width, height: picture.height });
  const link = make("a", { href: picture.url, title: say("Open the picture alone") }, image);
  const note = picture.flagged ? ` · ${say("filtered by the safety checker")}, ${job.paid_by}, ${job.charged}` : ` · ${job.charged}`;
  const facts = make("figcaption", {}, make("strong", { textContent: `${picture.width} × ${picture.height}` }),
    make("span", { textContent: `${say("seed {seed}", { seed: picture.seed })} · ${job.took}${note}` }));
  const one = { seed: picture.seed };
  const row = make("div", { className: "row tile-check" },
    make("a", { className: small, href: picture.url, download: `${job.id}-${picture.seed}.png`, textContent: say("Download") }),
    button(say("Recall"), say("Recall all settings of this picture, seed {seed}", one), () => acts.recall(job, picture.seed)),
    button(say("Vary"), say("Recall the settings of this picture, seed {seed}, with another seed", one), () => acts.recall(job, picture.seed + 1 + Math.floor(Math.random() * 1e6))));
  if (acts.useAsInput) row.append(button(say("Use as input"), say("Use this picture, seed {seed}, as input", one), () => acts.useAsInput(picture.url)));
  if (acts.upscale) row.append(button(say("Upscale"), say("Upscale this picture, seed {seed}", one), () => acts.upscale(picture.url)));
  row.append(
    button(say("Copy address"), say("Copy the address of this picture, seed {seed}", one), () => copied(() => navigator.clipboard.writeText(new URL(picture.url, location.href).href))),
    button(say("Copy base64"), say("Copy this picture, seed {seed}, as base64", one), () => copied(() => copyBase64(picture.url))),
    button(say("Share"), say("Share the call of this picture, seed {seed}, by a link", one), (event) => share(job, event)),
    button(say("Delete"), say("Delete the call of this picture, seed {seed}", one), (event) => remove(job, event)),
    make("a", { className: small, href: job.url, textContent: say("Details") }));
  const shown = make("div", {}, make("figure", { className: "frame" }, link, facts), row);
  shown.dataset.call = job.id;
  return shown;
}

export function fault(box, text, { code = "", requestId = "", retry } = {}) {
  box.hidden = false;
  const more = [code && say("Code {code}", { code }), requestId && say("request {id}", { id: requestId })].filter(Boolean).join(", ");
  const words = make("div", {}, make("strong", { textContent: text }), make("br"), `${more ? `${more}. ` : ""}${say("Nothing was charged.")} `);
  if (retry) words.append(button(say("Try again"), say("Try the same call again"), retry));
  box.replaceChildren(make("div", { className: "alert alert-bad" }, words));
  announce(text);
}

// On a narrow screen pictures come below the form: whoever pressed its button would see nothing happen.
export function intoSight(place) {
  if (place.getBoundingClientRect().top < window.innerHeight / 2) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  place.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

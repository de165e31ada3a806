// Keyboard: "/" goes to the search field, Ctrl+Enter sends the form one is in, "?" shows these and the others.
import { say } from "./speech.js";

const typing = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

const KEYS = [
  ["/", say("Go to the search field")],
  [say("Ctrl + Enter"), say("Generate, in the playground and in compare mode")],
  ["Esc", say("Cancel the call that runs; close a dialog or a menu")],
  ["\u2190 \u2192", say("Move the reading of a chart, or between tabs of code")],
  [say("Shift + {keys}, Enter", { keys: "\u2190 \u2192" }), say("Choose a span of a chart and show it alone")],
  ["?", say("Show this")],
];

function sheet() {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "keys-title");
  const list = Object.assign(document.createElement("dl"), { className: "facts dialog-body" });
  for (const [keys, meaning] of KEYS) {
    const term = document.createElement("dt");
    term.append(Object.assign(document.createElement("kbd"), { textContent: keys }));
    list.append(term, Object.assign(document.createElement("dd"), { textContent: meaning }));
  }
  const head = Object.assign(document.createElement("div"), { className: "dialog-head" });
  head.append(Object.assign(document.createElement("h2"), { id: "keys-title", textContent: say("Keyboard") }));
  const foot = Object.assign(document.createElement("form"), { method: "dialog", className: "dialog-foot" });
  foot.append(Object.assign(document.createElement("button"), { className: "button button-second", textContent: say("Close") }));
  dialog.append(head, list, foot);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !typing(event.target)) {
    const search = document.querySelector("input[type=search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  }
  if (event.key === "?" && !event.ctrlKey && !event.metaKey && !typing(event.target) && !document.querySelector("dialog[open]")) sheet();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.target.closest("form[data-ctrl-enter]")?.requestSubmit();
  }
});

// Copy buttons: data-copy holds the text, data-copy-from its address on this host; data-copy-code copies the code shown in
// the enclosing block.
import { announce } from "./announce.js";
import { say } from "./speech.js";

const DONE_MS = 1600;

async function textOf(button) {
  if (button.dataset.copyFrom) return (await fetch(button.dataset.copyFrom)).text();
  if (button.dataset.copy !== undefined) return button.dataset.copy;
  const block = button.closest(".code");
  const panels = [...block.querySelectorAll("[data-panel]")];
  const shown = panels.find((panel) => !panel.hidden) ?? block;
  return shown.querySelector("pre").textContent;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without TLS have no clipboard: the old way still works there.
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-code], [data-copy-from]");
  if (!button) return;
  const copied = await write(await textOf(button));
  announce(say(copied ? "Copied" : "Copying failed: select the text instead"));
  if (!copied) return;
  button.dataset.done = "";
  button.dispatchEvent(new CustomEvent("copied", { bubbles: true }));
  setTimeout(() => { delete button.dataset.done; }, DONE_MS);
});

// A key that is shown this once: whoever leaves without having taken it along is asked, once.
const once = document.querySelector("[data-key-once]");
if (once) {
  let kept = false;
  document.addEventListener("copied", () => { kept = true; });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link) return;
    if (link.dataset.keyKept !== undefined) { kept = true; return; }
    if (kept || link.getAttribute("href").startsWith("#")) return;
    kept = true;
    event.preventDefault();
    const warning = say("You have not copied the key, and it is not shown again. Press once more to leave.");
    announce(warning);
    let note = document.getElementById("key-not-kept");
    if (!note) {
      note = Object.assign(document.createElement("p"), { id: "key-not-kept", className: "alert alert-warn" });
      note.textContent = warning;
      const place = document.querySelector("[data-key-once]");
      place.after(note);
      place.scrollIntoView({ block: "center" });
    }
  });
}

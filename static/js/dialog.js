// Dialogs: data-dialog="<id>" opens one; data-open opens itself; data-confirm on a form, or on the button that sends it,
// asks first.
// The browser's own <dialog> traps the focus, closes with Escape and gives the focus back.
import { say } from "./speech.js";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (!opener) return;
  const dialog = document.getElementById(opener.dataset.dialog);
  if (!dialog) return;
  event.preventDefault();
  dialog.showModal();
});

for (const dialog of document.querySelectorAll("dialog[data-open]")) dialog.showModal();

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!question || form.dataset.sure !== undefined) return;
  event.preventDefault();
  const danger = event.submitter?.matches(".button-danger, .button-danger-second");
  confirmed(question, event.submitter?.textContent ?? say("Go on"), danger).then((sure) => {
    if (!sure) return;
    form.dataset.sure = "";
    form.requestSubmit(event.submitter);
  });
});

// The answer is red where the button that asked was.
export function confirmed(question, action, danger = false) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", say("Please confirm"));
  const text = Object.assign(document.createElement("p"), { className: "dialog-body", textContent: question });
  const form = Object.assign(document.createElement("form"), { method: "dialog", className: "dialog-foot" });
  const no = Object.assign(document.createElement("button"), { className: "button button-second", value: "", textContent: say("Cancel") });
  const yes = Object.assign(document.createElement("button"), { className: danger ? "button button-danger" : "button", value: "yes", textContent: action.trim() });
  form.append(no, yes);
  dialog.append(text, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

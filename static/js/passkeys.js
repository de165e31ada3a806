// What came of a passkey that could not be used: allauth's scripts only tell the document, which a reader does not see.
import { say } from "./speech.js";

const BUTTONS = "#passkey_login, #mfa_webauthn_authenticate, #mfa_webauthn_reauthenticate, #mfa_webauthn_add";

function reason(problem) {
  switch (problem?.name) {
    case "SecurityError":
      return say("Passkeys need a domain name: at a bare IP address no browser offers them. On your own machine, open the site at localhost.");
    case "NotAllowedError":
      return say("No passkey was used: it was cancelled, or took too long.");
    case "InvalidStateError":
      return say("This device is added already.");
    default:
      return window.isSecureContext ? say("The passkey could not be used.") : say("Passkeys need an address with https.");
  }
}

document.addEventListener("allauth.error", (event) => {
  const button = document.querySelector(BUTTONS);
  if (!event.detail?.tags?.includes("webauthn") || !button) return;
  event.preventDefault();
  document.getElementById("passkey-problem")?.remove();
  const told = Object.assign(document.createElement("p"), { id: "passkey-problem", className: "problem", textContent: reason(event.detail.exception) });
  told.setAttribute("role", "alert");
  button.after(told);
});

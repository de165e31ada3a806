// The theme switch without a round trip: the same cookie that the server sets when there is no script.
import { announce } from "./announce.js";
import { say } from "./speech.js";

const YEAR_S = 31536000;

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-theme-switch]");
  const theme = event.submitter?.value;
  if (!form || !theme) return;
  event.preventDefault();
  document.cookie = `theme=${theme}; path=/; max-age=${YEAR_S}; samesite=lax`;
  document.documentElement.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-theme-switch] button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
  document.dispatchEvent(new CustomEvent("themechange"));
  announce(say("Theme: {name}", { name: event.submitter.title || theme }));
});

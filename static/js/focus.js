// Parts of a page renew themselves by htmx. Whoever stands in one by keyboard stays where they were: on the element of the
// same kind that leads to or says the same.
let left = null;

const mark = (element) => [element.tagName, element.id, element.getAttribute("href") ?? element.textContent.trim()].join(" ");

document.addEventListener("htmx:beforeSwap", (event) => {
  const focused = document.activeElement;
  left = event.detail.target.contains(focused) ? mark(focused) : null;
});

document.addEventListener("htmx:afterSettle", () => {
  if (left === null || document.activeElement !== document.body) return;
  const back = [...document.querySelectorAll("main a, main button, main summary, main [tabindex]")].find((one) => mark(one) === left);
  back?.focus({ preventScroll: true });
});

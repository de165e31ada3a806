// Menus are <details>: this closes them on Escape and on a click elsewhere, and opens the documentation's list on wide
// screens.
const open = () => document.querySelectorAll("details[data-menu][open]");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of open()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("click", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});

const wide = matchMedia("(width >= 60rem)");
const unfold = () => {
  for (const list of document.querySelectorAll("details[data-open-wide]")) list.open = wide.matches;
};
wide.addEventListener("change", unfold);
unfold();

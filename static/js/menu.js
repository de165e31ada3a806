// Menus are <details>: this closes them on Escape, on a click elsewhere and when the focus leaves, and opens the
// documentation's list on wide screens.
const open = () => document.querySelectorAll("details[data-menu][open]");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of open()) {
    event.preventDefault();
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

for (const leaving of ["click", "focusin"]) {
  document.addEventListener(leaving, (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
}

const wide = matchMedia("(width >= 60rem)");
const unfold = () => {
  for (const list of document.querySelectorAll("details[data-open-wide]")) list.open = wide.matches;
};
wide.addEventListener("change", unfold);
unfold();

// Code in several languages: one panel at a time, arrow keys between tabs, and one language for all blocks of the site.
const STORE = "language";

function remembered() {
  try { return localStorage.getItem(STORE); } catch { return null; }
}

function select(root, key, focus = false) {
  const tabs = [...root.querySelectorAll("[role=tab]")];
  if (!tabs.some((tab) => tab.dataset.tab === key)) return;
  for (const tab of tabs) {
    const chosen = tab.dataset.tab === key;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
}

function choose(key, root, focus) {
  for (const other of document.querySelectorAll("[data-tabs]")) select(other, key, other === root && focus);
  try { localStorage.setItem(STORE, key); } catch { /* private windows may refuse: the choice then lasts a page */ }
}

export function start(scope = document) {
  for (const root of scope.querySelectorAll("[data-tabs]")) {
    select(root, root.querySelector("[role=tab]").dataset.tab);
    select(root, remembered());
  }
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[data-tabs] [role=tab]");
  if (tab) choose(tab.dataset.tab, tab.closest("[data-tabs]"), false);
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.("[data-tabs] [role=tab]");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!tab || !step) return;
  event.preventDefault();
  const root = tab.closest("[data-tabs]");
  const tabs = [...root.querySelectorAll("[role=tab]")];
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  choose(next.dataset.tab, root, true);
});

start();

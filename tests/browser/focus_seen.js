// What a keyboard user sees of the focused element, null when nothing has the focus. `n` numbers elements in the order in
// which they were first focused.
() => {
  const focused = document.activeElement;
  if (!focused || focused === document.body || focused === document.documentElement) return null;
  window.focusOrder ??= new Map();
  if (!window.focusOrder.has(focused)) window.focusOrder.set(focused, window.focusOrder.size);
  // A radio button or a file field may be drawn by its label.
  const own = focused.getBoundingClientRect();
  const shown = (own.width <= 2 && focused.closest("label")) || focused;
  const style = getComputedStyle(shown);
  const box = shown.getBoundingClientRect();
  const reach = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
  const ring = { left: box.left - reach, right: box.right + reach, top: box.top - reach, bottom: box.bottom + reach };
  const cut = new Set();
  for (let outer = shown.parentElement; outer; outer = outer.parentElement) {
    const clips = getComputedStyle(outer);
    if (outer === document.body || clips.overflow === "visible") continue;
    const edge = outer.getBoundingClientRect();
    if (ring.left < edge.left - 0.5) cut.add("left");
    if (ring.right > edge.right + 0.5) cut.add("right");
    if (ring.top < edge.top - 0.5) cut.add("top");
    if (ring.bottom > edge.bottom + 0.5) cut.add("bottom");
  }
  const points = [0.05, 0.5, 0.95].flatMap((x) => [0.1, 0.5, 0.9].map((y) => [box.left + box.width * x, box.top + box.height * y]));
  const inSight = points.some(([x, y]) => {
    const there = document.elementFromPoint(x, y);
    return there && (shown.contains(there) || there.contains(shown) && there.closest("label, summary, a, button") !== null);
  });
  return {
    n: window.focusOrder.get(focused),
    name: `${focused.tagName.toLowerCase()} ${(focused.getAttribute("aria-label") || focused.innerText || focused.name || focused.id || "").trim().split("\n")[0].slice(0, 40)}`,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    cut: [...cut],
    inSight,
    partly: focused.matches("[type=date], [type=datetime-local]"),
  };
}

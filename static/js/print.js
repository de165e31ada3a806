// A button with data-print prints the page; the style sheet leaves out what belongs to the screen.
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

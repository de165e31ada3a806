// The pricing calculator: prices come from the page's own table; amounts are whole micro-dollars until they are shown.
const form = document.querySelector("[data-calculator]");

function dollars(microusd) {
  const usd = microusd / 1_000_000;
  return new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", minimumFractionDigits: 2 }).format(usd);
}

function update() {
  const images = Math.max(0, Math.trunc(Number(form.elements.images.value) || 0));
  const option = form.elements.price_code.selectedOptions[0];
  form.elements.total.value = `${dollars(images * Number(option.dataset.microusd))} a month, pay as you go`;
}

if (form) {
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

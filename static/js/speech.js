// The page's language: what modules say is looked up in the page's element "speech" (gateway/site/speech.py), which is
// there when the language is not English; numbers, money and days are written as the language does.
const told = JSON.parse(document.getElementById("speech")?.textContent ?? "{}");
const spoken = document.documentElement.lang || "en";
const hasDecimalComma = ["de"].includes(spoken);

// Day before month, and 24 hours, in every language.
export const locale = spoken === "en" ? "en-GB" : spoken;
export const numbers = spoken;

// `text` is the English one; `{name}` in it stands for a value.
export function say(text, values = {}) {
  return (told[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const swapped = (digits) => digits.replace(/[.,]/g, (mark) => (mark === "." ? "," : "."));

// An amount whose digits are written in English already: 1,234.50.
export const usd = (digits) => (hasDecimalComma ? `${swapped(digits)}\u00a0$` : `$${digits}`);

// Money on pages that count before the server does: whole micro-dollars until they are shown.
import { numbers, say, usd } from "./speech.js";

// Exact as on the rest of the site: four decimals, six where they say something, two of a dollar or more in whole cents.
export function dollars(microusd) {
  const whole = Math.trunc(microusd / 1_000_000);
  const micro = String(microusd % 1_000_000).padStart(6, "0");
  const wholeCents = micro.endsWith("0000") && (microusd === 0 || microusd >= 1_000_000);
  const places = wholeCents ? 2 : micro.endsWith("00") ? 4 : 6;
  return usd(`${whole.toLocaleString("en")}.${micro.slice(0, places)}`);
}

// Cut, not rounded: a balance never shows more than there is.
export const cents = (microusd) => usd((Math.trunc(microusd / 10_000) / 100).toLocaleString("en", { minimumFractionDigits: 2 }));

// What would pay, in the words of gateway/dashboard/payment.py.
export function paymentText(pays, total) {
  const left = Math.max(pays.left - 1, 0).toLocaleString(numbers);
  const calls = { plan: pays.plan, left, limit: pays.limit.toLocaleString(numbers) };
  if (pays.source === "unlimited") return say("Included in {plan}, without a limit.", calls);
  if (pays.source === "allowance") return say("One of your plan's calls: {left} of {limit} left after it.", calls);
  if (pays.source === "free_day") return say("A free call: {left} of {limit} left after it.", calls);
  if (pays.source === "postpaid") return say("Invoiced at the end of the month.");
  if (pays.source !== "funds") return say("{plan} has no call left: add funds or take a plan.", calls);
  const after = pays.balance - total;
  if (after < 0) return say("Your funds are {balance}: it needs {missing} more.", { balance: cents(pays.balance), missing: dollars(-after) });
  return say("From funds: {after} left after it.", { after: cents(after) });
}

// Money on pages that count before the server does: whole micro-dollars until they are shown.

// At least four decimals, six where they say something, as on the rest of the site.
export function dollars(microusd) {
  const whole = Math.trunc(microusd / 1_000_000);
  const micro = String(microusd % 1_000_000).padStart(6, "0");
  return `$${whole.toLocaleString("en")}.${micro.endsWith("00") ? micro.slice(0, 4) : micro}`;
}

// Cut, not rounded: a balance never shows more than there is.
export const cents = (microusd) => `$${(Math.trunc(microusd / 10_000) / 100).toLocaleString("en", { minimumFractionDigits: 2 })}`;

// What would pay, in the words of gateway/dashboard/payment.py.
export function paymentText(pays, total) {
  const left = `${Math.max(pays.left - 1, 0).toLocaleString("en")} of ${pays.limit.toLocaleString("en")} left after it.`;
  const texts = {
    unlimited: `Included in ${pays.plan}, without a limit.`,
    allowance: `One of your plan's calls: ${left}`,
    free_day: `A free call: ${left}`,
    postpaid: "Invoiced at the end of the month.",
    none: `${pays.plan} has no call left: add funds or take a plan.`,
  };
  if (pays.source !== "funds") return texts[pays.source];
  const after = pays.balance - total;
  return after < 0 ? `Your funds are ${cents(pays.balance)}: it needs ${dollars(-after)} more.` : `From funds: ${cents(after)} left after it.`;
}

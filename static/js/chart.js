// Draws each [data-chart] from the JSON element of that id with uPlot, which the page loads beside this module. The same
// numbers stand in the table below it. Arrow keys move the reading. A drag chooses a span, and so do arrow keys with
// Shift, then Enter: where the figure has data-zoom, the page is asked for that span, so that it can be shared.
import { announce } from "./announce.js";
import { locale, numbers, say, usd } from "./speech.js";

// Steps of an axis whose values are never fractions.
const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8].flatMap((unit) => [unit, 2 * unit, 5 * unit]);
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [4, 2], [1, 4]];

const colour = (element) => getComputedStyle(element).color;

function formatter(unit) {
  const plain = new Intl.NumberFormat(numbers, { maximumFractionDigits: 1 });
  if (unit === "usd") return (value) => (value == null ? "–" : usd(value.toFixed(value !== 0 && Math.abs(value) < 1 ? 4 : 2)));
  if (unit === "ms") return (value) => (value == null ? "–" : value < 1000 ? `${Math.round(value)} ms` : `${plain.format(value / 1000)} s`);
  if (unit === "percent") return (value) => (value == null ? "–" : `${Math.round(value)} %`);
  return (value) => (value == null ? "–" : plain.format(value));
}

const DAY_S = 86400;

// Ticks of the time axis, in the reader's zone: days for daily sums, hours (and the date at midnight) for hourly ones.
function timeAxis(zone, daily, months) {
  const part = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, ...options });
  const date = part({ day: "numeric", month: "short" });
  const time = part({ hour: "2-digit", minute: "2-digit" });
  if (months) {
    const month = part({ month: "short", year: "2-digit" });
    // Every month, or every second, third... so that each label has its room.
    const splits = (self) => months.filter((_, at) => (months.length - 1 - at) % Math.ceil((months.length * 64) / self.width) === 0);
    return { splits, values: (_, ticks) => ticks.map((epoch) => month.format(epoch * 1000)) };
  }
  const label = (epoch) => {
    const text = time.format(epoch * 1000);
    return daily || text === "00:00" ? date.format(epoch * 1000) : text;
  };
  const hours = [1, 2, 3, 6, 12].map((hour) => hour * 3600);
  return { incrs: [...(daily ? [] : hours), DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S], values: (_, ticks) => ticks.map(label) };
}

function clock(zone, monthly) {
  const moment = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const format = new Intl.DateTimeFormat(locale, { timeZone: zone, ...(monthly ? { month: "long", year: "numeric" } : moment) });
  return (epoch) => format.format(epoch * 1000);
}

function draw(figure) {
  const area = figure.querySelector(".chart-area");
  const data = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
  const text = formatter(figure.dataset.unit);
  const zone = figure.dataset.zone || "UTC";
  const step = data[0].length > 1 ? data[0][1] - data[0][0] : DAY_S;
  const monthly = step > 27 * DAY_S;
  const when = clock(zone, monthly);
  const legend = [...figure.querySelectorAll("[data-series]")];
  const read = figure.querySelector(".chart-read");
  const axis = colour(figure.querySelector(".chart-axis"));
  const grid = colour(figure.querySelector(".chart-grid"));
  const font = `12px ${getComputedStyle(figure).fontFamily}`;
  const tell = (index) => {
    if (index == null) { read.textContent = ""; return; }
    const values = legend.map((item, i) => `${item.textContent.trim()} ${text(data[i + 1][index])}`);
    read.textContent = `${when(data[0][index])}  ${values.join("  ")}`;
  };
  const daily = data[0].length > 1 && data[0][1] - data[0][0] > DAY_S / 2;
  const single = legend.length === 1;
  const bars = window.uPlot.paths.bars({ size: [0.7, 48], align: 0 });
  const plot = new window.uPlot({
    width: area.clientWidth,
    height: 240,
    tzDate: (epoch) => window.uPlot.tzDate(new Date(epoch * 1000), zone),
    cursor: { points: { size: 7 }, drag: { x: Boolean(figure.dataset.zoom), y: false, setScale: false } },
    legend: { show: false },
    scales: { x: { range: single ? (_, low, high) => [low - step / 2, high + step / 2] : undefined }, y: { range: (_, low, high) => (figure.dataset.unit === "percent" ? [0, 104] : [Math.min(low ?? 0, 0), (high || 1) * 1.08]) } },
    axes: [
      { stroke: axis, font, space: 64, grid: { show: false }, ticks: { stroke: grid, size: 4 }, ...timeAxis(zone, daily, monthly ? data[0] : null) },
      { stroke: axis, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 64, values: (_, ticks) => ticks.map(text), ...(figure.dataset.unit === "usd" ? {} : { incrs: WHOLE }) },
    ],
    series: [{}, ...legend.map((item, i) => ({
      stroke: colour(item), width: single ? 0 : 2, dash: DASHES[i], points: { show: !single && data[0].length < 3 },
      paths: single ? bars : undefined, fill: single ? colour(item) : undefined,
    }))],
    hooks: {
      setCursor: [(self) => tell(self.cursor.idx)],
      setSelect: [(self) => {
        if (self.select.width < 8) return;
        const [low, high] = [self.select.left, self.select.left + self.select.width].map((px) => self.posToVal(px, "x"));
        zoom(figure, data[0], nearest(data[0], low, step), nearest(data[0], high, step));
      }],
    },
  }, data, area);
  return { plot, tell, times: data[0] };
}

// The number of the step that a moment lies in; bars stand around their step's start.
function nearest(times, moment, step) {
  const at = times.findIndex((time) => time + step / 2 > moment);
  return at < 0 ? times.length - 1 : at;
}

function zoom(figure, times, first, last) {
  const from = times[first];
  const to = times[last + 1] ?? Number(figure.dataset.end);
  if (to - from < 900) return;
  location.assign(`?${figure.dataset.zoom}&from=${from}&to=${to}`);
}

function start(figure) {
  const area = figure.querySelector(".chart-area");
  let drawn = draw(figure);
  let at = -1;
  let anchor = null;
  area.tabIndex = 0;
  area.addEventListener("keydown", (event) => {
    const { plot, times } = drawn;
    if (event.key === "Enter" && anchor !== null && figure.dataset.zoom) {
      zoom(figure, times, Math.min(anchor, at), Math.max(anchor, at));
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -times.length, End: times.length }[event.key];
    if (!step) return;
    event.preventDefault();
    const before = Math.max(at, 0);
    at = Math.min(Math.max(at + step, 0), times.length - 1);
    anchor = event.shiftKey && figure.dataset.zoom ? (anchor ?? before) : null;
    const left = (index) => plot.valToPos(times[index], "x");
    plot.setCursor({ left: left(at), top: 20 });
    const [low, high] = anchor === null ? [0, 0] : [Math.min(left(anchor), left(at)), Math.max(left(anchor), left(at))];
    plot.setSelect({ left: low, width: high - low, top: 0, height: plot.bbox.height / devicePixelRatio }, false);
    drawn.tell(at);
    if (anchor !== null) announce(say("{count} steps chosen. Enter shows them.", { count: Math.abs(at - anchor) + 1 }));
  });
  const redraw = () => { drawn.plot.destroy(); drawn = draw(figure); };
  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if (area.clientWidth && area.clientWidth !== drawn.plot.width) drawn.plot.setSize({ width: area.clientWidth, height: 240 });
  }).observe(area);
}

if (window.uPlot) for (const figure of document.querySelectorAll("[data-chart]")) start(figure);

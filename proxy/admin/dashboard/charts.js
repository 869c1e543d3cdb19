// The four charts, drawn by uPlot in the page's own colours. Each says its newest figures in words above it.
import { brief, bytes, clock, latency } from "./format.js";

const kept = 600; // samples: ten minutes

// binary are steps of an axis of bytes: powers of two, so that its labels are round.
function binary() { return Array.from({ length: 44 }, (_, i) => 2 ** i); }

const kinds = [
  { id: "rates", say: brief, least: 4, series: [["accepted", "one", (s) => s.accepted], ["delivered", "two", (s) => s.delivered]] },
  { id: "latency", say: latency, least: 0.002, series: [["p50", "one", (s) => s.ack_p50], ["p99", "two", (s) => s.ack_p99]] },
  { id: "waiting", say: brief, least: 4, series: [["high", "three", (s) => s.high], ["normal", "one", (s) => s.normal], ["low", "two", (s) => s.low]] },
  { id: "journal", say: bytes, series: [["used", "one", (s) => s.bytes]], least: 1 << 20, steps: binary(), ceiling: (s) => s.quota },
];

let samples = [];
let plots = [];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const element = (id) => document.getElementById(id);

export function setHistory(all) { samples = all.slice(-kept); draw(); }

export function add(sample) {
  if (samples.length > 0 && sample.at <= samples[samples.length - 1].at) return; // it was in the history
  samples.push(sample);
  if (samples.length > kept) samples.shift();
  draw();
}

// growth is how many bytes a second the journal has grown by in the last minute.
export function growth() {
  const last = samples[samples.length - 1];
  const first = samples.find((s) => s.at >= last.at - 60000);
  const seconds = (last.at - first.at) / 1000;
  return seconds < 10 ? 0 : (last.bytes - first.bytes) / seconds;
}

function columns(kind) {
  return [samples.map((s) => s.at / 1000), ...kind.series.map(([, , of]) => samples.map(of))];
}

function axis(kind) {
  const style = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return [
    { ...style, grid: { show: false }, space: 90, size: 26, values: (_, at) => at.map((t) => (at[1] - at[0] < 60 ? clock(t * 1000) : clock(t * 1000).slice(0, 5))) },
    { ...style, size: 68, space: 34, ...(kind.steps && { incrs: kind.steps }), values: (_, at) => at.map((v) => kind.say(v)) },
  ];
}

// top leaves room above the line, and shows the quota once it is near.
function top(kind, most) {
  const quota = kind.ceiling && samples.length > 0 ? kind.ceiling(samples[samples.length - 1]) : 0;
  const want = Math.max(most * 1.15, kind.least || 0, 1e-9);
  return quota > 0 && want > quota / 2 ? Math.max(quota, most) : want;
}

function make(kind) {
  const place = element("chart-" + kind.id);
  place.replaceChildren();
  return new uPlot({
    width: place.clientWidth, height: place.clientHeight, legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    padding: [8, 22, 0, 0],
    scales: { x: { time: true, range: (_, first, last) => [Math.min(first, last - 60), last] }, y: { range: (_, least, most) => [0, top(kind, most || 0)] } },
    axes: axis(kind),
    series: [{}, ...kind.series.map(([label, name], i) => ({
      label, stroke: color(name), width: 2, points: { show: false },
      fill: kind.series.length === 1 || (kind.id === "rates" && i === 0) ? color(name) + "22" : undefined,
    }))],
    hooks: { setCursor: [(u) => say(kind, u.cursor.idx)] },
  }, columns(kind), place);
}

// say writes the figures of one sample, the newest where the pointer is on none.
function say(kind, at) {
  const sample = samples[at ?? samples.length - 1];
  if (!sample) return;
  const parts = kind.series.map(([label, name, of]) => {
    const span = document.createElement("span"), key = document.createElement("i"), value = document.createElement("b");
    key.className = "key";
    key.dataset.color = name;
    value.textContent = kind.say(of(sample));
    span.append(key, label + " ", value);
    return span;
  });
  if (at !== null && at !== undefined) parts.push("at " + clock(sample.at));
  element("now-" + kind.id).replaceChildren(...parts);
}

function draw() {
  if (plots.length === 0) plots = kinds.map(make);
  kinds.forEach((kind, i) => {
    plots[i].setData(columns(kind));
    say(kind, plots[i].cursor.idx);
  });
}

function again() {
  plots.forEach((p) => p.destroy());
  plots = [];
  if (samples.length > 0) draw();
}

// A change of the colour scheme draws anew; a change of width only resizes.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
addEventListener("resize", () => plots.forEach((p, i) => {
  const place = element("chart-" + kinds[i].id);
  p.setSize({ width: place.clientWidth, height: place.clientHeight });
}));

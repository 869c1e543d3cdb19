// How figures are said. Each function takes a number and gives text for a person.

const group = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => group.format(n);

// A rate or a figure on an axis: three digits are enough.
export function brief(n) {
  if (Number.isInteger(n) && n < 10) return String(n);
  if (Math.abs(n) < 10) return n.toFixed(n < 1 ? 2 : 1);
  return Math.abs(n) < 10000 ? group.format(n) : short.format(n);
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + units[i];
}

// A latency, in seconds.
export function latency(s) {
  if (s === null || s === undefined) return "–";
  if (s === 0) return "0";
  if (s < 0.001) return (s * 1e6).toFixed(0) + " µs";
  if (s < 1) return (s * 1000).toFixed(s < 0.01 ? 1 : 0) + " ms";
  return s.toFixed(s < 10 ? 1 : 0) + " s";
}

// A duration, in seconds: its two largest units.
export function duration(s) {
  if (s < 1) return s === 0 ? "0 s" : Math.round(s * 1000) + " ms";
  if (s < 60) return Math.round(s) + " s";
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${Math.round(s - m * 60)} s`.replace(" 60 s", " 59 s");
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h ${m % 60} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

export const percent = (p) => (p > 0 && p < 0.01 ? "< 1 %" : p > 0.99 && p < 1 ? "> 99 %" : Math.round(p * 100) + " %");

export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + "s"}`;

export const date = (time) => `${new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} ${clock(time)}`;

export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

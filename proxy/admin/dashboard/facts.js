// The cards: figures by topic, written into lists of terms. Rows are made once and only their text changes.
import { brief, bytes, clock, count, duration, latency, percent, plural } from "./format.js";

const element = (id) => document.getElementById(id);

// list writes [term, text, level, class] rows; one without a text is left out.
function list(id, rows) {
  const place = element(id), wanted = rows.filter(Boolean);
  while (place.children.length > wanted.length * 2) place.lastChild.remove();
  while (place.children.length < wanted.length * 2) place.append(document.createElement("dt"), document.createElement("dd"));
  wanted.forEach(([term, text, level, kind], i) => {
    const dt = place.children[2 * i], dd = place.children[2 * i + 1];
    if (dt.textContent !== term) dt.textContent = term;
    if (dd.textContent !== text) dd.textContent = text;
    dd.dataset.level = level || "";
    dt.className = dd.className = kind || "";
  });
}

// bars writes [name, text, value 0 to 1] rows, each with a meter; without a value there is none.
function bars(id, rows) {
  const place = element(id);
  while (place.children.length < rows.length) {
    const row = document.createElement("div");
    row.innerHTML = '<div class="bar-head"><span></span><span></span></div><meter min="0" max="1" low="0.5" high="0.8" optimum="0"></meter>';
    place.append(row);
  }
  rows.forEach(([name, text, value], i) => {
    const [head, meter] = place.children[i].children;
    head.children[0].textContent = name;
    head.children[1].textContent = text;
    meter.value = value;
    meter.setAttribute("aria-label", `${name}: ${text}`);
  });
}

export function show(status, sample, damages) {
  store(status.store, sample);
  lanes(status.lanes);
  journal(status.journal, sample);
  clients(status.edge);
  balance(status.balance);
  recovery(status.recovery, damages);
}

function store(s, sample) {
  list("f-store", [
    ["State", s.up ? "up" : "down", s.up ? "ok" : "bad"],
    ["Kind", s.kind + (s.address ? " at " + s.address : "")],
    ["Breaker", s.breaker + (Date.parse(s.since) > 0 ? " since " + clock(s.since) : ""), s.breaker === "closed" ? "" : "warn"],
    ["Delivered a second", brief(sample.delivered)],
    ["With the store now", count(s.in_flight)],
    ["Waiting for another try", count(s.parked), s.parked > 0 ? "warn" : ""],
    ["Tried again", count(s.retries)],
    s.kind === "embedded" && ["Stored", count(s.stored)],
  ]);
  element("f-store-said").textContent = s.last_error ? "Its last error: " + s.last_error : "";
}

function lanes(all) {
  const most = Math.max(1, ...all.map((l) => l.depth));
  bars("f-lanes", all.map((l) => l.capacity > 0
    ? [l.name, `${count(l.depth)} of ${count(l.capacity)}`, l.depth / l.capacity]
    : [l.name, `${count(l.depth)} waiting`, Math.min(l.depth / most, 0.45) * (l.depth > 0)]));
}

function journal(j, sample) {
  bars("f-quota", [["Used of the quota", `${bytes(j.bytes)} of ${bytes(j.quota_bytes)}`, j.pressure]]);
  list("f-journal", [
    ["Pressure", percent(j.pressure), j.pressure > 0.8 ? "bad" : ""],
    ["Generations", count(j.generations)],
    ["Newest record", count(j.last_index)],
    ["Commits since the start", count(j.commits)],
    ["fsync p50 / p99", `${latency(sample.fsync_p50)} / ${latency(sample.fsync_p99)}`],
    j.failure && ["Failure", j.failure, "bad"],
  ]);
}

function clients(e) {
  const refused = Object.entries(e.refused).filter(([, n]) => n > 0);
  list("f-clients", [
    ["Sessions", count(e.sessions)],
    ["Streams connected", count(e.streams)],
    ["Connections", count(e.connections)],
    ["Acknowledged since the start", count(e.acked)],
    ["Refused", refused.length === 0 ? "none" : refused.map(([why, n]) => `${count(n)} ${why.replace("_", " ")}`).join(", "), refused.some(([why]) => why === "overloaded") ? "warn" : ""],
    e.expired > 0 && ["Sessions expired", count(e.expired)],
    e.panics > 0 && ["Failed inside", plural(e.panics, "call"), "bad"],
  ]);
}

function balance(b) {
  list("f-balance", [
    ["Delivered", count(b.delivered)], ["Pending", count(b.pending)], ["Dead letters", count(b.dead), b.dead > 0 ? "warn" : ""],
    ["Dropped", count(b.dropped)], ["Damaged", count(b.damaged), b.damaged > 0 ? "bad" : ""],
    ["Accepted", count(b.accepted), "", "sum"],
  ]);
  const even = b.accepted === b.delivered + b.pending + b.dead + b.dropped + b.damaged;
  element("f-even").textContent = even ? "Even: every accepted record is accounted for." : "Not even.";
  element("f-even").classList.toggle("bad", !even);
}

function recovery(r, damages) {
  list("f-recovery", [
    ["Took", duration(r.duration_seconds)],
    ["Sessions", count(r.sessions)],
    ["Undelivered records", count(r.pending)],
    ["Torn tail cut", r.torn_bytes > 0 ? bytes(r.torn_bytes) + ", never acknowledged" : "none"],
    ["Ledger", r.rebuilt ? "built anew from the journal" : "good", r.rebuilt ? "warn" : ""],
    ["Damage", damages > 0 ? `${plural(damages, "place")}, ${plural(r.lost, "record")} lost` : "none", damages > 0 ? "bad" : "ok"],
  ]);
  const items = (r.damages || []).map((d) => {
    const li = document.createElement("li");
    li.textContent = `${d.session ? `session ${d.session}, sequence ${d.first}${d.last !== d.first ? " to " + d.last : ""}: ` : ""}${d.reason} (${d.place})`;
    return li;
  });
  if (damages > items.length) items.push(Object.assign(document.createElement("li"), { textContent: `and ${damages - items.length} more: engram-sidecar journal verify` }));
  element("f-damages").replaceChildren(...items);
}

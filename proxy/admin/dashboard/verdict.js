// What a person should know first. findings gives all that is the matter, the worst first, or that nothing is.
import { count, duration, percent, plural } from "./format.js";

export function findings(status, damages) {
  if (status.state === "recovering") {
    return [{ level: "wait", text: "Starting: reading the journal", more: "No stream is served yet. What was acknowledged is on disk." }];
  }
  const found = [...disk(status, damages), ...store(status), ...rest(status)];
  if (status.state === "stopping") {
    found.unshift({ level: "wait", text: "Stopping", more: "Acks owed are sent, answers in flight are collected." });
  }
  const order = { bad: 0, wait: 1, warn: 2, ok: 3 };
  return found.length > 0 ? found.sort((a, b) => order[a.level] - order[b.level]) : [well(status)];
}

function well(status) {
  const n = status.balance.pending;
  return { level: "ok", text: "All is well", more: n === 0 ? "Everything that was acknowledged is in the store." : `${plural(n, "observation")} on the way to the store.` };
}

function disk(status, damages) {
  const found = [], b = status.balance, j = status.journal;
  if (j.failure) found.push({ level: "bad", text: "The disk failed", more: `${j.failure}. The process ends; the next start recovers.` });
  const off = b.accepted - b.delivered - b.pending - b.dead - b.dropped - b.damaged;
  if (off !== 0) found.push({ level: "bad", text: `The balance is off by ${count(off)}`, more: "This is a fault of the sidecar: keep the data directory (engram-sidecar backup) and report it." });
  if (j.pressure > 0.99) {
    found.push({ level: "bad", text: "The journal is full", more: "New observations are refused or held up until there is room. Mend the store, or make room on the disk." });
  } else if (j.pressure > 0.8) {
    found.push({ level: "bad", text: `The journal is ${percent(j.pressure)} full`, more: "When it is full, observations are refused. Mend the store, or make room." });
  }
  if (status.recovery.lost > 0) {
    found.push({ level: "bad", text: `The disk has spoilt ${plural(status.recovery.lost, "acknowledged observation")}`, more: "Take a backup before anything else. What was lost is listed below." });
  } else if (damages > 0) {
    found.push({ level: "warn", text: `The journal has damage in ${plural(damages, "place")}`, more: "An earlier start has counted what was lost there." });
  }
  return found;
}

function store(status) {
  const s = status.store, n = status.balance.pending;
  if (s.up) return [];
  const since = Date.parse(s.since), seconds = Math.round((Date.now() - since) / 1000);
  const down = since > 0 && seconds > 0 ? `has been down for ${duration(seconds)}` : "is down";
  return [{
    level: "warn", text: `The store ${down}`,
    more: `Nothing is lost: ${n === 0 ? "nothing waits for it" : plural(n, "observation waits", "observations wait") + " in the journal"}, and new ones are still acknowledged. It is tried again by itself.`,
  }];
}

function rest(status) {
  const found = [], b = status.balance;
  if (status.store.up && status.store.oldest_seconds > 60) {
    found.push({ level: "warn", text: "Delivery is behind", more: `The oldest observation has waited ${duration(status.store.oldest_seconds)}: the store takes less than comes in.` });
  }
  for (const lane of status.lanes.filter((l) => l.capacity > 0 && l.depth >= l.capacity)) {
    found.push({ level: "warn", text: `The ${lane.name} lane is full`, more: "Observations of this priority are refused until some are delivered." });
  }
  if (b.dead > 0) {
    found.push({ level: "warn", text: plural(b.dead, "dead letter"), more: "Refused by the store for good, and kept. Mend the cause, then replay or drop below." });
  }
  return found;
}

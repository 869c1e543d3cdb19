// The dead letters: what the store refused for good, each with a button to replay it and one to drop it. Rows are kept as
// long as their letter is there, so that the focus stays where it is.
import { get, post, Unauthorized } from "./feed.js";
import { bytes, count, date, plural } from "./format.js";

const element = (id) => document.getElementById(id);
const shown = 50;
const rows = new Map(); // by index
let busy = false;
let asked = 0;

export function say(text, bad) {
  const place = element("letters-said");
  place.textContent = text;
  place.classList.toggle("bad", Boolean(bad));
}

// load shows what is there now. An answer that another question has overtaken is not shown.
export async function load() {
  if (busy) return;
  const mine = ++asked;
  try {
    const page = await get(`/api/deadletters?limit=${shown}`);
    if (mine === asked && !busy) show(page);
  } catch (err) {
    if (!(err instanceof Unauthorized)) element("letters-note").textContent = `They cannot be listed: ${err.message}`;
  }
}

function show(page) {
  const there = new Set(page.letters.map((l) => l.index));
  for (const [index, row] of rows) {
    if (!there.has(index)) remove(index, row);
  }
  const place = element("letters-rows");
  page.letters.forEach((letter, i) => {
    if (!rows.has(letter.index)) rows.set(letter.index, make(letter));
    const row = rows.get(letter.index);
    fill(row, letter);
    if (place.children[i] !== row) place.insertBefore(row, place.children[i] || null);
  });
  element("replay-all").hidden = page.count === 0;
  element("letters-note").textContent = page.count === 0 ? "None. The store has refused nothing for good."
    : `${plural(page.count, "letter")}, ${bytes(page.bytes)}, kept until you replay or drop them.` +
      (page.letters.length < page.count ? ` The first ${count(page.letters.length)} are shown; engram-sidecar deadletters list has all.` : "");
}

// remove takes a row away; a focus on it goes to the next one, or to the title.
function remove(index, row) {
  if (row.contains(document.activeElement)) {
    const next = row.nextElementSibling || row.previousElementSibling;
    (next ? next.querySelector("button") : element("letters-title")).focus();
  }
  row.remove();
  rows.delete(index);
}

function make(letter) {
  const row = document.createElement("article");
  row.className = "letter";
  row.innerHTML = '<div><p class="reason"></p><p class="note"></p></div><div class="buttons"></div>';
  const replay = button("Replay", "", () => settle("replay", { indexes: [letter.index] }, row));
  const drop = button("Drop", "danger", async () => {
    if (await confirmed(letter)) await settle("drop", { indexes: [letter.index] }, row);
    else drop.focus();
  });
  replay.setAttribute("aria-label", `Replay dead letter ${letter.index}`);
  drop.setAttribute("aria-label", `Drop dead letter ${letter.index}`);
  row.querySelector(".buttons").append(replay, drop);
  return row;
}

function button(text, kind, act) {
  const b = document.createElement("button");
  b.type = "button";
  b.textContent = text;
  b.className = kind;
  b.addEventListener("click", act);
  return b;
}

function fill(row, l) {
  row.querySelector(".reason").textContent = l.reason || "no reason given";
  row.querySelector(".note").textContent = [
    `letter ${l.index}`, `id ${l.id}`, `space ${l.space}`, l.session && `session ${l.session} no. ${l.sequence}`, l.lane, bytes(l.bytes),
    `refused ${plural(l.attempts, "time")}, last ${date(l.died_at)}`,
    l.superseded && "a newer version was accepted: not replayed",
  ].filter(Boolean).join(" · ");
}

// settle asks the sidecar to replay or drop, and says what became of it.
async function settle(what, selection, row) {
  if (busy) return;
  const buttons = (row || element("letters")).querySelectorAll("button");
  buttons.forEach((b) => { b.setAttribute("aria-disabled", "true"); });
  busy = true;
  say(what === "replay" ? "Handing it to the store…" : "Dropping it…");
  try {
    told(what, await post(`/api/deadletters/${what}`, selection));
  } catch (err) {
    say(`It could not be done: ${err instanceof Unauthorized ? "the token is no longer taken" : err.message}`, true);
  } finally {
    busy = false;
    buttons.forEach((b) => { b.removeAttribute("aria-disabled"); });
    await load();
  }
}

function told(what, out) {
  const wanted = what === "replay" ? "delivered" : "dropped";
  const done = out.results.filter((r) => r.outcome === wanted).length;
  const not = out.results.filter((r) => r.outcome !== wanted);
  let text = `${plural(done, "dead letter")} ${wanted}.`;
  if (not.length > 0) text += ` ${count(not.length)} not: ${not[0].outcome}${not[0].message ? ", " + not[0].message : ""}.`;
  if (out.error) text += ` It ended early: ${out.error}.`;
  say(text, not.length > 0 || out.error !== "");
}

let answer = null; // of the question that is being asked

// confirmed asks before something is given up. A browser tells of a closed question only later: by then it may have been asked
// again, and that answer is not the new one's.
function confirmed(letter) {
  const dialog = element("confirm");
  element("confirm-title").textContent = `Drop dead letter ${letter.index}?`;
  element("confirm-text").textContent = `Its observation (id ${letter.id}) is given up for good, and counted as dropped.`;
  element("confirm-no").onclick = () => dialog.close("no");
  element("confirm-yes").onclick = () => dialog.close("yes");
  answer?.(false);
  return new Promise((done) => {
    answer = done;
    dialog.returnValue = "no";
    dialog.onclose = () => {
      if (!dialog.open) done(dialog.returnValue === "yes");
    };
    dialog.showModal();
  });
}

element("replay-all").addEventListener("click", () => settle("replay", { all: true }));

// The page: it follows the sidecar's samples and shows what they say, the number that matters first.
import * as charts from "./charts.js";
import * as facts from "./facts.js";
import { follow, forgetToken, hasToken, setToken } from "./feed.js";
import { bytes, clock, count, duration, percent } from "./format.js";
import * as letters from "./letters.js";
import { findings } from "./verdict.js";

const element = (id) => document.getElementById(id);
let last = null; // the newest update
let dead = ""; // what the list of dead letters was last drawn for

function text(id, value) {
  if (element(id).textContent !== value) element(id).textContent = value;
}

function level(id, value) { element(id).dataset.level = value; }

// verdict shows findings. Screen readers are told when they change, not each time that a number in them does.
function verdict(found) {
  level("verdict", found[0].level);
  text("headline", found[0].text);
  text("detail", found[0].more);
  const others = found.slice(1).map((f) => f.text).join("\n");
  if (element("findings").dataset.said !== others) {
    element("findings").dataset.said = others;
    element("findings").replaceChildren(...found.slice(1).map((f) => Object.assign(document.createElement("li"), { textContent: f.text })));
  }
  const kinds = found.map((f) => f.text.replace(/\d.*/, "")).join();
  if (element("announce").dataset.said !== kinds) {
    element("announce").dataset.said = kinds;
    text("announce", found.map((f) => f.text).join(". "));
  }
  document.title = (found[0].level === "ok" ? "" : "● ") + `${found[0].text} · ${location.host}`;
}

function tiles(status, sample) {
  const b = status.balance, oldest = status.store.oldest_seconds, grows = charts.growth();
  text("t-pending", count(b.pending));
  text("t-pending-note", b.pending === 0 ? "everything is in the store" : "acknowledged, safe on disk");
  text("t-oldest", b.pending === 0 ? "–" : duration(oldest));
  level("t-oldest", oldest > 900 ? "bad" : oldest > 60 ? "warn" : "");
  text("t-oldest-note", b.pending === 0 ? "nothing waits" : `since ${clock(sample.at - oldest * 1000)}`);
  text("t-pressure", percent(sample.pressure));
  level("t-pressure", sample.pressure > 0.8 ? "bad" : sample.pressure > 0.5 ? "warn" : "");
  const left = grows > 0 ? (sample.quota - sample.bytes) / grows : Infinity;
  text("t-pressure-note", left < 2 * 86400 && sample.pressure > 0.02 && sample.pressure < 0.99 ? `full in ${duration(left)} at this rate` : `${bytes(sample.bytes)} of ${bytes(sample.quota)}`);
  text("t-dead", count(b.dead));
  level("t-dead", b.dead > 0 ? "warn" : "");
  text("t-dead-note", b.dead === 0 ? "the store refused nothing" : "kept, waiting for you");
}

function head(status) {
  const found = { serving: "ok", recovering: "wait", stopping: "wait" };
  level("state", found[status.state] || "wait");
  text("state", status.state);
  text("where", `${location.host} · gRPC ${status.listen} · version ${status.build.version} · up ${duration(status.uptime_seconds)} · ${status.data_dir}`);
}

const on = {
  history(all) {
    open();
    if (all.length > 0) charts.setHistory(all);
  },
  update(now) {
    open();
    last = now;
    head(now.status);
    verdict(findings(now.status, now.damages));
    if (now.status.state === "recovering") return;
    charts.add(now.sample);
    tiles(now.status, now.sample);
    facts.show(now.status, now.sample, now.damages);
    const letter = `${now.status.balance.dead} ${now.status.balance.dropped} ${now.status.store.buried}`;
    if (letter !== dead) {
      dead = letter;
      letters.load();
    }
  },
  lost(err) {
    open();
    level("state", "bad");
    text("state", "no answer");
    verdict([{
      level: "bad", text: "The sidecar does not answer",
      more: `${last ? `What stands below is of ${clock(last.sample.at)}. ` : ""}What was acknowledged is on disk. It is asked again by itself. (${err.message})`,
    }]);
    dead = ""; // when it is back the list is asked for anew
  },
};

function open() {
  element("main").hidden = false;
  element("token-form").hidden = true;
}

// run follows until a token is wanted, then asks for it.
async function run() {
  await follow(on);
  text("token-error", hasToken() ? "The sidecar does not know this token." : "");
  forgetToken();
  level("state", "wait");
  text("state", "locked");
  element("main").hidden = true;
  element("token-form").hidden = false;
  element("token").focus();
}

element("token-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  setToken(element("token").value.trim());
  element("token").value = "";
  run();
});

run();

// Talking to the sidecar: the stream of samples, and requests. EventSource cannot send a token, so the stream is read with
// fetch. The token lives in this tab's sessionStorage.

const tokenKey = "engram-sidecar-token";
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const setToken = (token) => sessionStorage.setItem(tokenKey, token);
export const forgetToken = () => sessionStorage.removeItem(tokenKey);
export const hasToken = () => sessionStorage.getItem(tokenKey) !== null;

function headers(more) {
  const token = sessionStorage.getItem(tokenKey);
  return token === null ? { ...more } : { ...more, Authorization: "Bearer " + token };
}

// Unauthorized is thrown when a token is wanted, or another one.
export class Unauthorized extends Error {}

async function problem(response) {
  if (response.status === 401) return new Unauthorized();
  const body = await response.json().catch(() => ({}));
  return new Error(body.error || `the sidecar answered ${response.status}`);
}

// credentials: "omit" keeps the browser from asking for a password by itself.
const usual = { credentials: "omit", cache: "no-store", redirect: "error" };

export async function get(path) {
  const response = await fetch(path, { ...usual, headers: headers() });
  if (!response.ok) throw await problem(response);
  return response.json();
}

export async function post(path, body) {
  const response = await fetch(path, {
    ...usual, method: "POST", body: JSON.stringify(body),
    headers: headers({ "Content-Type": "application/json", "X-Engram-Sidecar": "1" }),
  });
  if (!response.ok) throw await problem(response);
  return response.json();
}

// follow calls on[event](data) for each event, and comes back whenever the stream was lost. It returns when the sidecar
// wants a token. A page that nobody sees lets its stream go after a while: a browser has only six for one address.
export async function follow(on) {
  for (let pause = 500; ; pause = Math.min(pause * 1.6, 5000)) {
    await seen();
    try {
      await read(on, () => { pause = 500; });
      on.lost(new Error("the stream has ended"));
    } catch (err) {
      if (err instanceof Unauthorized) return;
      if (document.hidden) continue;
      on.lost(err);
    }
    await sleep(pause);
  }
}

// seen waits until the page can be seen.
function seen() {
  if (!document.hidden) return null;
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

async function read(on, heard) {
  const abort = new AbortController();
  let unseen;
  const look = () => {
    clearTimeout(unseen);
    if (document.hidden) unseen = setTimeout(() => abort.abort(), 60000);
  };
  document.addEventListener("visibilitychange", look);
  let watchdog; // a sample comes each second: a stream that is silent for longer is a dead one
  const alive = () => { clearTimeout(watchdog); watchdog = setTimeout(() => abort.abort(new Error("no sample for 10 seconds")), 10000); };
  alive();
  try {
    const response = await fetch("/api/events", { ...usual, headers: headers(), signal: abort.signal });
    if (!response.ok) throw await problem(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        heard();
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(part) || [];
        if (on[name]) on[name](JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(watchdog);
    clearTimeout(unseen);
    document.removeEventListener("visibilitychange", look);
    abort.abort();
  }
}

// The portal's first page: a code that runs out and is replaced, and what goes on about the account
// now, as soon as it happens.

import { adopt, now } from "./clock.js";

// ── What goes on now ─────────────────────────────────────────────────────────────────────────

/** Takes in what goes on now, and leaves alone what the customer is typing. */
async function look() {
  try {
    const reply = await fetch("/me/live", { credentials: "same-origin" });
    if (reply.redirected || reply.status === 401 || reply.status === 403) return location.reload();
    if (!reply.ok) return;
    const next = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("live");
    const old = document.getElementById("live");
    if (!next || !old || next.dataset.mark === old.dataset.mark) return;
    const typed = new Map([...old.querySelectorAll("input[id]")].map((input) => [input.id, input.value]));
    const focused = document.activeElement?.id;
    const known = new Set([...old.querySelectorAll("[data-ask] h2")].map((h) => h.id));
    old.replaceWith(document.adoptNode(next));
    adopt(next);
    for (const [id, value] of typed) {
      const input = document.getElementById(id);
      if (input) input.value = value;
    }
    if (focused && typed.has(focused)) document.getElementById(focused)?.focus();
    const fresh = [...next.querySelectorAll("[data-ask]")].find((ask) => !known.has(ask.querySelector("h2").id));
    if (fresh) {
      document.getElementById("say").textContent = fresh.querySelector(".ask-what").textContent;
      fresh.scrollIntoView({ block: "start" });
    }
    document.dispatchEvent(new CustomEvent("live"));
    await recount();
  } catch {
    // Offline: the event stream reconnects by itself, and asks again.
  }
}

/** The list of calls, which grows while one goes on; not under the hands of somebody who is in it. */
async function recount() {
  const reply = await fetch("/me", { credentials: "same-origin" });
  if (!reply.ok || reply.redirected) return;
  const next = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("calls");
  const old = document.getElementById("calls");
  if (!next || !old || old.contains(document.activeElement) || old.querySelector(".wasnt-me[open]")) return;
  old.replaceWith(document.adoptNode(next));
  adopt(next);
}

let stream = null;
function listen() {
  stream?.close();
  stream = new EventSource("/me/events");
  stream.addEventListener("account", look);
}
if (document.getElementById("live")) {
  listen();
  // A page that nobody looks at holds no line.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
    } else {
      listen();
    }
  });
}

// ── The code for the phone ───────────────────────────────────────────────────────────────────

const RELOAD_EVERY = 20_000; // a code that was keyed is spent: the page must not show it for long
let loading = false;
let loaded = now();

async function reload() {
  if (loading) return;
  loading = true;
  try {
    const reply = await fetch("/me/service-code", { headers: { "HX-Request": "true" }, credentials: "same-origin" });
    if (reply.redirected || reply.status === 401 || reply.status === 403) return location.reload();
    if (!reply.ok) return;
    const next = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("code");
    const old = document.getElementById("code");
    if (!next || !old) return;
    old.replaceWith(next);
    adopt(next);
    draw();
  } catch {
    // Offline: the old code runs out by itself, and the next round tries again.
  } finally {
    loading = false;
    loaded = now();
  }
}

function draw() {
  const code = document.getElementById("code");
  if (!code) return;
  const left = (Number(code.dataset.expiresAt) - now()) / 1000;
  const share = Math.min(1, Math.max(0, left / Number(code.dataset.life)));
  code.querySelector(".ring-left")?.setAttribute("stroke-dashoffset", String(100 - share * 100));
  code.classList.toggle("soon", left <= 10);
  if (document.hidden) return;
  const age = now() - loaded;
  if ((left <= 0 && age > 1000) || age > RELOAD_EVERY) reload();
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) reload(); });
draw();
setInterval(draw, 250);

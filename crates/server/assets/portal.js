// The code on the portal's first page: a ring that runs out, and a new code when it has.

import { adopt, now } from "./clock.js";

const RELOAD_EVERY = 20_000; // a code that was keyed is spent: the page must not show it for long
let loading = false;
let loaded = now();

async function reload() {
  if (loading) return;
  loading = true;
  try {
    const reply = await fetch("/me/code", { headers: { "HX-Request": "true" }, credentials: "same-origin" });
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

// The desk's page: keeps queue and call up to date without touching what the agent is typing,
// and makes it quick with the keyboard alone. Commands are plain forms, sent by htmx.

import { adopt } from "./clock.js";

const $ = (selector, root = document) => root.querySelector(selector);
const panel = () => $("#call");
const queue = () => $("#queue");
const parse = (html, id) => new DOMParser().parseFromString(html, "text/html").getElementById(id);

// ── What the agent is typing ───────────────────────────────────────────────────────────────

let gone = new Map(); // what the form that is under way held when it was sent

const TYPED = "input[id]:not([type=hidden]):not([type=checkbox]), textarea[id], select[id]";

function touched(field) {
  if (field instanceof HTMLSelectElement) return [...field.options].some((o) => o.selected !== o.defaultSelected);
  return field.value !== field.defaultValue;
}

/** Unsent text, focus and open parts of the panel. `sent` is the form that has gone, with what it held. */
function keep(root, sent = null) {
  const active = document.activeElement;
  const inside = root.contains(active) ? active : null;
  return {
    typed: [...root.querySelectorAll(TYPED)].filter((f) => touched(f) && (!sent || f.form !== sent || gone.get(f.id) !== f.value)).map((f) => ({ id: f.id, value: f.value })),
    open: [...root.querySelectorAll("details[id][open]")].filter((d) => !sent || !d.contains(sent)).map((d) => d.id),
    chosen: $(".action.chosen", root)?.id ?? null,
    inside: Boolean(inside),
    focus: inside?.id || null,
    from: inside?.selectionStart ?? null,
    to: inside?.selectionEnd ?? null,
  };
}

const within = (root, id) => id && root.querySelector(`#${CSS.escape(id)}`);

/** Unsent text for which `next` has no place. */
const lost = (kept, next) => kept.typed.filter((t) => !within(next, t.id));

function restore(kept, root) {
  for (const { id, value } of kept.typed) {
    const field = within(root, id);
    if (field) field.value = value;
  }
  for (const id of kept.open) {
    const details = within(root, id);
    if (details) details.open = true;
  }
  within(root, kept.chosen)?.classList.add("chosen");
  if (!kept.inside) return;
  const field = within(root, kept.focus);
  (field ?? root).focus({ preventScroll: true });
  if (field && kept.from !== null && field.setSelectionRange) {
    try { field.setSelectionRange(kept.from, kept.to); } catch { /* not a text field */ }
  }
}

// ── Saying things to a screen reader and to the eye ────────────────────────────────────────

function announce(text) {
  const region = $("#announce");
  if (!region || !text) return;
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 30);
}

/** What changed between two states of the panel, in words. */
function news(before, after) {
  const flash = $("[data-flash]", after)?.textContent.trim();
  const parts = flash ? [flash] : [];
  if (before.call === after.dataset.call) {
    if (before.level !== after.dataset.level) parts.push(`Assurance: ${after.dataset.level}.`);
    if (before.stage !== after.dataset.stage) parts.push(after.dataset.stage);
  } else if (after.dataset.stage) {
    parts.push(after.dataset.stage);
  }
  return parts.join(" ");
}

function notice(text, button, act) {
  const box = $("#notice");
  box.replaceChildren();
  box.hidden = !text;
  if (!text) return;
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (button) {
    const b = Object.assign(document.createElement("button"), { type: "button", textContent: button });
    b.addEventListener("click", act);
    box.append(b);
  }
  announce(text);
}

// ── Refreshing ─────────────────────────────────────────────────────────────────────────────

let sending = 0; // commands under way
let pressed = false; // a button is held down: a swap now would lose the click
let fetching = false;
let again = false;
let flashed = 0; // when the present message about a command came
const FLASH_STAYS = 10_000;
let dropped = null; // the call's newer state that has no place for what is being typed

const busy = () => sending > 0 || pressed || document.activeElement?.matches?.("#call select");

async function get(path) {
  const reply = await fetch(path, { headers: { "HX-Request": "true" }, credentials: "same-origin", cache: "no-store" });
  if (reply.redirected || reply.status === 401 || reply.status === 403) {
    location.reload(); // signed out: the page itself leads to where one signs in
    return null;
  }
  if (reply.status === 404) {
    location.assign("/desk"); // no longer ours to see, so it does not stay on the screen
    return null;
  }
  return reply.ok ? reply.text() : null;
}

/** Shows the call as it is now. Without `force` it never takes unsent text away. */
async function refreshCall(force = false) {
  const call = panel().dataset.call;
  if (!call) return;
  if (fetching || (busy() && !force)) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const html = await get(`/desk/call/${encodeURIComponent(call)}/panel`);
    const next = html && parse(html, "call");
    if (!next || panel().dataset.call !== call) return;
    if (busy() && !force) {
      again = true;
      return;
    }
    if (!force && next.dataset.n === panel().dataset.n) return;
    swap(next, force);
  } catch {
    // The stream tells when the line is back; then everything is fetched again.
  } finally {
    fetching = false;
    if (again && !busy()) {
      again = false;
      refreshCall();
    }
  }
}

function swap(next, force) {
  const old = panel();
  const kept = keep(old);
  if (!force && lost(kept, next).length > 0) {
    dropped = next;
    notice("The call has moved on, and the new view has no place for what you typed.", "Show it and drop the text (R)", () => showDropped());
    return;
  }
  const before = { ...old.dataset };
  // The answer to the agent's own command is not wiped out by what happens right after it.
  const flash = $(".flash", old);
  if (flash && !force && Date.now() - flashed < FLASH_STAYS && !$(".flash", next)) {
    flash.removeAttribute("data-flash"); // it was announced already
    $(".head", next)?.after(flash);
  }
  old.replaceWith(next);
  window.htmx?.process(next);
  restore(kept, next);
  settled(before);
}

function showDropped() {
  dropped = null;
  refreshCall(true);
}

/** After any new panel. */
function settled(before) {
  const now = panel();
  if ($("[data-flash]", now)) flashed = Date.now();
  dropped = null;
  notice("");
  adopt(now);
  mark();
  announce(news(before, now));
}

async function refreshList() {
  try {
    const html = await get("/desk/list");
    const next = html && parse(html, "queue");
    const old = queue();
    if (!next || pressed) return;
    const active = document.activeElement;
    const inside = old.contains(active);
    const [id, top] = [active?.id, old.scrollTop];
    old.replaceWith(next);
    window.htmx?.process(next);
    next.scrollTop = top;
    if (inside) (within(next, id) ?? next).focus({ preventScroll: true });
    adopt(next);
    mark();
  } catch {
    // As above.
  }
}

/** Marks the open call in the list, and says in the title how many wait. */
function mark() {
  const call = panel().dataset.call;
  for (const row of document.querySelectorAll(".row")) {
    const current = row.dataset.call === call;
    row.classList.toggle("current", current);
    const link = $(".row-link", row);
    if (current) link?.setAttribute("aria-current", "true");
    else link?.removeAttribute("aria-current");
  }
  const waiting = Number(queue().dataset.waiting);
  document.title = document.title.replace(/^(\(\d+\) )?/, waiting > 0 ? `(${waiting}) ` : "");
}

function soon(act) {
  let timer = null;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => { timer = null; act(); }, 40);
  };
}

const callSoon = soon(() => refreshCall());
const listSoon = soon(() => refreshList());

function listen() {
  const live = $("#live");
  let source = null;
  let wasLost = false;
  const state = (name, text) => {
    if (live.dataset.state === name) return;
    live.dataset.state = name;
    live.textContent = text;
  };
  const connect = () => {
    source = new EventSource("/desk/events");
    source.addEventListener("open", () => {
      state("on", "Live");
      if (wasLost) {
        wasLost = false;
        callSoon();
        listSoon();
      }
    });
    source.addEventListener("list", listSoon);
    source.addEventListener("call", (event) => { if (event.data === panel().dataset.call) callSoon(); });
    source.addEventListener("error", () => {
      wasLost = true;
      state("lost", "Not live, reconnecting");
    });
  };
  connect();
  setInterval(() => {
    if (source.readyState === EventSource.OPEN) return;
    if (source.readyState === EventSource.CLOSED) connect();
    callSoon();
    listSoon();
  }, 8000);
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}

// ── Commands ───────────────────────────────────────────────────────────────────────────────

const formOf = (element) => (element instanceof HTMLFormElement ? element : element?.form ?? null);

let carried = null;
let before = null;
let awaited = false; // the old panel already had the field that wants the focus

document.addEventListener("htmx:beforeRequest", (event) => {
  sending += 1;
  const form = formOf(event.detail.elt);
  gone = new Map([...(form?.elements ?? [])].filter((f) => f.id).map((f) => [f.id, f.value]));
});
document.addEventListener("htmx:afterRequest", (event) => {
  sending = Math.max(0, sending - 1);
  if (!event.detail.successful && !event.detail.xhr?.status) {
    notice("The server cannot be reached. Nothing is lost: what you typed is still here. Try again.");
  }
  setTimeout(() => {
    if (again && !busy()) {
      again = false;
      refreshCall();
    }
  });
});

/** What an error page or a plain reply says. */
function told(xhr) {
  const html = /html/.test(xhr.getResponseHeader("Content-Type") ?? "");
  const page = html ? new DOMParser().parseFromString(xhr.responseText, "text/html") : null;
  const parts = page ? [...page.querySelectorAll("#error-title, #error-help")].map((e) => e.textContent.trim()) : [xhr.responseText.trim().slice(0, 200)];
  return parts.filter(Boolean).join(". ").replace(/([.?!])\./, "$1") || `The server did not do that (${xhr.status}).`;
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, requestConfig } = event.detail;
  if (target?.id !== "call") return;
  if (/\/sign-in$/.test(new URL(xhr.responseURL, location.href).pathname) || xhr.status === 401) {
    event.detail.shouldSwap = false;
    location.reload();
    return;
  }
  const next = parse(event.detail.serverResponse, "call");
  if (!next) {
    event.detail.shouldSwap = false;
    notice(told(xhr));
    return;
  }
  // A command that did nothing keeps its text for correction; one that was taken has gone.
  const refused = xhr.status >= 400 || next.dataset.n === panel().dataset.n;
  const form = formOf(requestConfig?.elt);
  const same = next.dataset.call === panel().dataset.call;
  carried = same ? keep(panel(), refused ? null : form) : null;
  before = { ...panel().dataset };
  awaited = same && Boolean($("[data-focus=now]", panel()));
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (!before || !panel()) return;
  if (event.detail.target?.id !== "call" && event.detail.elt?.id !== "call") return;
  const old = before;
  before = null;
  if (carried) restore({ ...carried, inside: false }, panel());
  const focus = carried?.focus;
  carried = null;
  settled(old);
  // The agent did this, so the focus may move: to what comes next, or back to where it was.
  const fresh = $("[data-focus=now]", panel());
  const next = (fresh && !awaited ? fresh : null) ?? within(panel(), focus);
  if (next && !next.disabled) next.focus({ preventScroll: true });
  else if (document.activeElement === document.body) panel().focus({ preventScroll: true });
  listSoon();
});

document.addEventListener("pointerdown", () => { pressed = true; }, true);
for (const type of ["pointerup", "pointercancel", "dragend"]) {
  document.addEventListener(type, () => setTimeout(() => {
    pressed = false;
    if (again && !busy()) {
      again = false;
      refreshCall();
    }
  }, 60), true);
}

document.addEventListener("focusout", () => setTimeout(() => {
  if (again && !busy()) {
    again = false;
    refreshCall();
  }
}));

// One menu at a time, and none after a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const compare = event.target.closest?.("[data-heard]");
  if (compare) {
    event.preventDefault();
    const what = $("#heard-what");
    if (what) what.value = compare.dataset.heard;
    $("#heard-value")?.focus();
  }
});

// ── Keys ───────────────────────────────────────────────────────────────────────────────────

const dialog = $("#keys");
const keysOn = $("#keys-on");
try { keysOn.checked = localStorage.getItem("desk-keys") !== "off"; } catch { /* no storage: on */ }
keysOn.addEventListener("change", () => {
  try { localStorage.setItem("desk-keys", keysOn.checked ? "on" : "off"); } catch { /* as above */ }
});
$("#help").addEventListener("click", () => dialog.showModal());

const typing = (target) => target.closest?.("input:not([type=checkbox]):not([type=radio]):not([type=submit]), textarea, select, [contenteditable]");

function openMenu(id, first) {
  const menu = within(document, id);
  if (!menu) return;
  menu.open = true;
  within(menu, first)?.focus();
}

function choose(key) {
  const action = $(`.action[data-key="${key}"]`, panel());
  if (!action) return;
  for (const other of document.querySelectorAll(".action.chosen")) other.classList.remove("chosen");
  action.classList.add("chosen");
  const details = $("details.perform", action);
  if (details) {
    details.open = !details.open;
    (details.open ? $("input:not([type=hidden]), select, button", details) : $("summary", details))?.focus();
  } else {
    ($("[data-plan]:not(:disabled)", action) ?? $("[data-way]", action) ?? panel()).focus();
  }
  action.scrollIntoView({ block: "nearest" });
}

function stepUp() {
  const chosen = $(".action.chosen", panel());
  const button = chosen ? $("[data-plan]", chosen) : $("[data-prove]", panel());
  if (button && !button.disabled) button.click();
}

const KEYS = {
  "/": () => { $("#heard-value")?.focus(); $("#heard-value")?.select(); },
  "?": () => dialog.showModal(),
  s: stepUp,
  h: () => openMenu("hand-over", "hand-over-specialists"),
  e: () => openMenu("end-call", "end-now"),
  t: () => ($("[data-take]", queue()) ?? $("#take-this"))?.click(),
  r: () => { if (dropped) showDropped(); else refreshCall(true); refreshList(); },
};

document.addEventListener("keydown", (event) => {
  if (event.isComposing || dialog.open) return;
  const target = event.target;
  if (event.key === "Escape") {
    const menu = target.closest?.("details.menu[open], details.perform[open]") ?? $("details.menu[open]");
    if (menu) {
      menu.open = false;
      $("summary", menu).focus();
    } else if (target instanceof HTMLElement) {
      target.blur();
      for (const chosen of document.querySelectorAll(".action.chosen")) chosen.classList.remove("chosen");
    }
    return;
  }
  if (target.id === "heard-value" && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    const what = $("#heard-what");
    const step = event.key === "ArrowDown" ? 1 : -1;
    what.selectedIndex = (what.selectedIndex + step + what.options.length) % what.options.length;
    announce(what.options[what.selectedIndex].text);
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !keysOn.checked || typing(target)) return;
  const act = KEYS[event.key.toLowerCase()] ?? (/^[0-9]$/.test(event.key) ? () => choose(event.key) : null);
  if (!act) return;
  event.preventDefault();
  act();
});

// ── Start ──────────────────────────────────────────────────────────────────────────────────

mark();
listen();
if (document.activeElement === document.body) $("[data-focus=now]")?.focus({ preventScroll: true });

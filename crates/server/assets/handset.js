// A telephone in the browser: it speaks what the server says, collects keys, plays hold music, and
// shows the messages that reach the customer. It knows nothing about codes or accounts.

import { length } from "./clock.js";
import { Microphone, cannot } from "./microphone.js";
import { Sounds } from "./sounds.js";

const $ = (selector) => document.querySelector(selector);
const phone = $("#phone");
const log = $("#log");
const sounds = new Sounds();
let ringing = null; // the call that rings here
let token = null; // what the portal's own number keys by itself

const PATIENCE = 3; // a newcomer reads before keying: the server's time-outs are stretched by this
const VOICES = { en: "en-US", es: "es-ES", de: "de-DE" };
const MUSIC = { calm: "calm music", lively: "lively music", classical: "classical music", silence: "silence" };

/** Names a command, so that sending it twice does it once. */
function commandId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

// ── The screen ─────────────────────────────────────────────────────────────────────────────

function line(kind, text, lang) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  if (lang) item.lang = lang;
  log.append(item);
  log.scrollTop = log.scrollHeight;
  return item;
}

function state(name, text) {
  phone.dataset.state = name;
  $("#state").textContent = text;
  const on = name !== "idle" && name !== "ended";
  $("#dial span").textContent = on ? "Hang up" : "Call";
  for (const radio of document.querySelectorAll("#who input")) radio.disabled = on;
  microphone.hidden(on);
}

function wants(text) { $("#wants").textContent = text; }

// ── The microphone ─────────────────────────────────────────────────────────────────────────

/** What the page shows of it. */
const microphone = {
  timer: null,
  talk: null,
  says(text) { $("#microphone-state").textContent = text; },
  hidden(on) {
    const there = $("#microphone").dataset.there === "true";
    const why = there ? cannot() : null;
    if (why) microphone.says(why);
    $("#talk").disabled = on || !there || why !== null || ringing !== null || token !== null;
    if (!on) microphone.end();
  },
  begin(talk) {
    microphone.talk = talk;
    for (const part of ["#mute", "#levels"]) $(part).hidden = false;
    microphone.mute(false);
    microphone.timer = setInterval(() => {
      for (const who of ["you", "line"]) $(`#level-${who}`).value = talk.levels[who]?.now() ?? 0;
    }, 100);
  },
  mute(muted) {
    microphone.talk?.mute(muted);
    $("#mute").setAttribute("aria-pressed", String(muted));
    microphone.says(muted ? "Muted: you hear, and nobody hears you" : "Connected: you hear, and can be heard");
  },
  end() {
    clearInterval(microphone.timer);
    if (microphone.talk) microphone.says("The microphone is off.");
    microphone.talk = null;
    for (const part of ["#mute", "#levels"]) $(part).hidden = true;
  },
};

// ── Speech ─────────────────────────────────────────────────────────────────────────────────

const speech = window.speechSynthesis ?? null;
speech?.getVoices(); // some browsers load them only when asked

function voiceFor(lang) {
  const voices = speech?.getVoices() ?? [];
  const wanted = VOICES[lang] ?? lang;
  return voices.find((v) => v.lang === wanted) ?? voices.find((v) => v.lang.toLowerCase().startsWith(lang)) ?? null;
}

const wait = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

/** Resolves when the words are spoken, or would have been read. */
async function speak(text, lang, signal) {
  const reading = 900 + text.length * 38;
  const voice = $("#voice").checked ? voiceFor(lang) : null;
  if (!voice) return wait(reading, signal);
  await new Promise((done) => {
    const words = new SpeechSynthesisUtterance(text);
    words.lang = voice.lang;
    words.voice = voice;
    const stop = () => { speech.cancel(); done(); };
    // Some engines never say that they have finished.
    const guard = setTimeout(stop, reading * 3 + 4000);
    const end = () => { clearTimeout(guard); done(); };
    words.addEventListener("end", end);
    words.addEventListener("error", end);
    signal.addEventListener("abort", () => { clearTimeout(guard); stop(); }, { once: true });
    speech.speak(words);
  });
}

// ── The call ───────────────────────────────────────────────────────────────────────────────

let call = null; // { id, events, started, timer, last, replay, talk: its microphone, if it has one }
let gather = null; // what is being collected: { max, timeout, secret, timer }
let mode = "idle"; // what keys mean: idle, listening, gather, hold, bridge
let entry = "";
let doing = null; // stops what the phone is doing
let early = false; // keys came before the question was over
let dialling = false;
let swallow = 0; // until then a "#" belongs to an entry that went by itself

function show() {
  const secret = gather?.secret ?? false;
  $("#entry").textContent = secret ? "•".repeat(entry.length) : entry;
  $("#clear").disabled = entry === "" || Boolean(call?.talk); // what is keyed on a real line is gone
  $("#send").disabled = !(mode === "gather" && call && entry);
}

async function post(path, body) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const reply = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
      });
      if (reply.status < 500 && reply.status !== 429) return reply;
    } catch {
      // No answer: nobody knows whether it arrived, so it is sent again under the same name.
    }
    if (attempt === 4) return null;
    await new Promise((done) => setTimeout(done, 400 * 2 ** attempt));
  }
}

const to = (what) => `/handset/calls/${encodeURIComponent(call.id)}/${what}`;

/** With a microphone the call goes by the telephone line, as from any telephone. */
async function connect(talk, who) {
  let microphoneName;
  try {
    microphoneName = await talk.open(post, microphone.says);
  } catch (error) {
    microphone.says(error.message);
    line("event", error.message);
    return null;
  }
  microphone.says("Connected");
  return post(`/handset/microphone/${encodeURIComponent(microphoneName)}/dial`, { person: who.value || null, number: who.dataset.number || null });
}

async function dial(talk = null) {
  const who = $("#who input:checked");
  if (!who || call || dialling) return;
  const answering = ringing;
  ringing = null;
  dialling = true;
  sounds.wake();
  log.replaceChildren();
  entry = "";
  state("calling", answering ? "Answering" : "Calling");
  log.focus({ preventScroll: true }); // the button means "hang up" from now on: Enter must not
  $("#line").textContent = who.dataset.number || "number withheld";
  wants("");
  if (!talk) sounds.ring();
  const reply = talk ? await connect(talk, who) : answering
    ? await post(`/handset/calls/${encodeURIComponent(answering)}/answer`)
    : await post("/handset/calls", { person: who.value || null, number: who.dataset.number || null, token });
  if (!answering && !talk) token = null;
  const answer = reply?.ok ? await reply.json().catch(() => null) : null;
  dialling = false;
  if (!answer?.call) {
    talk?.stop();
    if (!talk || reply) line("event", reply ? `The call did not get through (${reply.status}).` : "The server cannot be reached.");
    state("ended", "No connection");
    return;
  }
  const events = new EventSource(`/handset/calls/${encodeURIComponent(answer.call)}/events`);
  call = { id: answer.call, events, started: Date.now(), last: null, replay: false, talk };
  if (talk) microphone.begin(talk);
  $("#timer").hidden = false;
  $("#timer").textContent = "0:00";
  call.timer = setInterval(() => { $("#timer").textContent = length((Date.now() - call.started) / 1000); }, 1000);
  events.addEventListener("directives", (event) => {
    // After a dropped line the server says again what the phone should be doing.
    const repeated = call?.replay && event.data === call.last;
    if (!call || repeated) return;
    call.replay = false;
    call.last = event.data;
    let directives;
    try {
      directives = JSON.parse(event.data);
    } catch {
      line("event", "The server said something this phone does not understand.");
      return;
    }
    // After the last word there is nothing to listen for, and the goodbye is to be heard out.
    if (directives.some((d) => d.do === "hang_up")) events.close();
    obey(directives);
  });
  events.addEventListener("error", () => {
    if (!call) return;
    call.replay = true;
    if (events.readyState === EventSource.CLOSED) over("The line went dead");
  });
}

/** Does what the server says, in place of whatever the phone was doing. */
async function obey(directives) {
  doing?.abort();
  const mine = new AbortController();
  doing = mine;
  clearTimeout(gather?.timer);
  gather = null;
  entry = "";
  early = false;
  // The last directive may be a gather: what is keyed while the voice still speaks belongs to it.
  const asks = directives.find((d) => d.do === "gather");
  if (asks) {
    gather = { max: asks.max, timeout: asks.timeout, secret: asks.secret, timer: null, sent: false };
    mode = "gather";
    sounds.quiet();
    state("asked", "The voice asks");
    wants(asks.secret ? "secret: shown as dots" : asks.max === 1 ? "one key" : "end with #");
  } else {
    mode = "listening";
    wants("");
  }
  show();
  for (const directive of directives) {
    if (mine.signal.aborted) return;
    switch (directive.do) {
      case "say": {
        const item = line("said", directive.text, directive.lang);
        if (call?.talk) break; // it is heard on the line
        if (early) break; // the caller interrupted: the words are on the screen
        if (!asks) state("listening", "The voice speaks");
        item.classList.add("speaking");
        const unlessKeyed = new AbortController();
        mine.signal.addEventListener("abort", () => unlessKeyed.abort(), { once: true });
        mine.interrupt = () => unlessKeyed.abort();
        await speak(directive.text, directive.lang, unlessKeyed.signal);
        item.classList.remove("speaking");
        break;
      }
      case "gather":
        state("asked", "Waits for your keys");
        arm();
        break;
      case "hold":
        mode = "hold";
        state("waiting", "On hold");
        line("event", `On hold: ${MUSIC[directive.music] ?? directive.music}. Keys 1 to 4 change the music.`);
        if (!call?.talk) sounds.hold(directive.music);
        break;
      case "bridge":
        mode = "bridge";
        sounds.quiet();
        state("talking", "You are talking with the agent");
        line("event", call?.talk ? "You are through. An agent with a telephone hears you; the demo's agents have none." : "You are through. What you say to the agent, type at the desk.");
        break;
      case "hang_up":
        over("Call ended");
        return;
      default:
        line("event", `This phone cannot do “${directive.do}”.`);
    }
  }
  show();
}

/** Starts waiting for keys, or starts again after one. */
function arm() {
  if (!gather || gather.sent || !call || call.talk) return; // on a real line the other end counts
  clearTimeout(gather.timer);
  gather.timer = setTimeout(() => {
    if (entry) {
      send(entry);
    } else {
      line("event", "You keyed nothing.");
      post(to("silence"), { command: commandId() });
    }
  }, gather.timeout * 1000 * PATIENCE);
}

async function send(keys) {
  if (!call) return;
  const asked = gather;
  const secret = asked?.secret ?? false;
  clearTimeout(asked?.timer);
  if (asked) asked.sent = true; // nothing more until the server says what comes next
  line("keyed", secret ? keys.replace(/[0-9]/g, "•") : keys);
  entry = "";
  show();
  const reply = await post(to("keys"), { keys, command: commandId() });
  if (reply?.ok || !call) return;
  line("event", reply ? `The server did not take the keys (${reply.status}).` : "The keys did not get through. Key them again.");
  if (asked && asked === gather) {
    asked.sent = false;
    arm();
  }
}

function press(key) {
  sounds.wake();
  sounds.key(key);
  const button = document.querySelector(`.pad [data-key="${CSS.escape(key)}"]`);
  button?.classList.add("down");
  setTimeout(() => button?.classList.remove("down"), 120);
  if (!call) return;
  if (call.talk) {
    pressed(key);
    return;
  }
  if (mode === "hold") {
    send(key);
    return;
  }
  if (mode !== "gather" || !gather || gather.sent) return;
  if (key === "#" && entry === "" && Date.now() < swallow) return;
  early = true;
  doing?.interrupt?.();
  if (key === "#") {
    send(`${entry}#`);
  } else if (key === "*" && entry === "") {
    send("*");
  } else {
    entry += key;
    show();
    if (entry.length >= gather.max) {
      swallow = Date.now() + 2000;
      send(entry);
    } else {
      arm();
    }
  }
}

/** A key on a real line: it is sent at once, and the screen follows. */
function pressed(key) {
  if (!call.talk.key(key)) {
    line("event", "The key could not be sent.");
    return;
  }
  if (mode !== "gather" || !gather || gather.sent) return;
  if (key === "#" && entry === "") return;
  if (key !== "#") entry += key;
  if (key === "#" || entry.length >= gather.max) {
    line("keyed", gather.secret ? "•".repeat(entry.length) : entry);
    gather.sent = true;
    entry = "";
  }
  show();
}

function over(text) {
  doing?.abort();
  doing = null;
  clearTimeout(gather?.timer);
  gather = null;
  mode = "idle";
  entry = "";
  sounds.quiet();
  if (call) {
    sounds.end();
    call.events.close();
    call.talk?.stop();
    clearInterval(call.timer);
    line("event", `${text}, after ${length((Date.now() - call.started) / 1000)}.`);
  }
  call = null;
  wants("");
  state("ended", text);
  show();
}

$("#dial").addEventListener("click", () => {
  if (!call) {
    dial();
    return;
  }
  const path = to("hang-up");
  over("You hung up");
  post(path);
});
for (const button of document.querySelectorAll(".pad button")) {
  button.addEventListener("click", (event) => {
    press(button.dataset.key);
    if (event.detail > 0) log.focus({ preventScroll: true }); // clicked, not keyed: Enter is to send
  });
}
$("#send").addEventListener("click", () => { if (mode === "gather") press("#"); });
function clear(all) {
  if (call?.talk) return;
  entry = all ? "" : entry.slice(0, -1);
  show();
  if (mode === "gather") arm();
}
$("#clear").addEventListener("click", () => clear(true));
$("#talk").addEventListener("click", () => { if (!call && !dialling) dial(new Microphone($("#loudspeaker"), () => over("The line went dead"))); });
$("#mute").addEventListener("click", () => microphone.mute($("#mute").getAttribute("aria-pressed") !== "true"));
$("#voice").addEventListener("change", () => { if (!$("#voice").checked) speech?.cancel(); });
$("#sounds").addEventListener("change", () => { sounds.on = $("#sounds").checked; });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("select, textarea, input:not([type=radio]):not([type=checkbox])")) return;
  if (/^[0-9*#]$/.test(event.key)) {
    event.preventDefault();
    press(event.key);
  } else if (event.key === "Backspace" && entry) {
    event.preventDefault();
    clear(false);
  } else if (event.key === "Enter" && mode === "gather" && entry && !event.target.closest?.("a, summary, button")) {
    event.preventDefault();
    press("#");
  }
});

window.addEventListener("pagehide", () => {
  speech?.cancel();
  if (call) navigator.sendBeacon?.(to("hang-up"));
});

// ── Messages ───────────────────────────────────────────────────────────────────────────────

const CHANNELS = { sms: "Text message", voice: "Phone call", email: "Mail" };
const messages = $("#messages");
const inbox = $("#inbox");
let mail = null;
let seen = new Set();

// Six to eight digits in a row, or spelled one by one; not a part of a telephone number.
const CODE = /((?<![\d+])(?:\d{6,8}|\d(?:[ ,.] ?\d){5,7})(?!\d))/;

/** Text with its links made into links and its codes easy to read. Never parsed as HTML. */
function written(text) {
  const out = document.createElement("p");
  out.className = "message-text";
  for (const part of text.split(/(https?:\/\/[^\s<>"]+)/)) {
    if (/^https?:\/\//.test(part)) {
      const tail = part.match(/[.,;:!?)]+$/)?.[0] ?? "";
      const link = document.createElement("a");
      link.textContent = part.slice(0, part.length - tail.length);
      link.href = link.textContent;
      link.target = "portal";
      if (link.origin !== location.origin) link.rel = "noreferrer";
      out.append(link, tail);
      continue;
    }
    for (const piece of part.split(CODE)) {
      if (piece.length >= 6 && piece.match(CODE)?.[0] === piece) {
        out.append(Object.assign(document.createElement("span"), { className: "message-code", textContent: piece }));
      } else {
        out.append(piece);
      }
    }
  }
  return out;
}

/** Somebody rings this telephone: the company, for a call of its own. */
function rings(message) {
  if (call || dialling || Date.now() - Number(message.at) > 60_000) return;
  const owner = document.querySelector(`#who input[data-number="${CSS.escape(String(message.to))}"]`);
  if (owner && !owner.checked) {
    owner.checked = true;
    chosen();
  }
  ringing = String(message.text);
  state("ringing", "Your phone rings");
  $("#dial span").textContent = "Answer";
  line("event", "The phone rings. Press Answer.");
  sounds.ring();
}

function arrived(message) {
  const key = JSON.stringify(message);
  if (seen.has(key)) return;
  seen.add(key);
  if (message.channel === "ring") {
    rings(message);
    return;
  }
  $("#no-messages").hidden = true;
  const item = document.createElement("li");
  item.className = "message fresh";
  const top = document.createElement("p");
  top.className = "message-top";
  const at = new Date(Number(message.at));
  top.append(
    Object.assign(document.createElement("b"), { textContent: CHANNELS[message.channel] ?? message.channel }),
    Object.assign(document.createElement("span"), { textContent: `${message.to ?? ""} · ${Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString()}` }),
  );
  item.append(top, written(String(message.text ?? "")));
  messages.prepend(item);
  setTimeout(() => item.classList.remove("fresh"), 8000);
}

function watch(person) {
  mail?.close();
  mail = null;
  seen = new Set();
  messages.replaceChildren();
  $("#no-messages").hidden = false;
  if (!person) return;
  mail = new EventSource(`/handset/inbox/${encodeURIComponent(person)}/events`);
  mail.addEventListener("message", (event) => {
    try { arrived(JSON.parse(event.data)); } catch { /* not for us */ }
  });
}

let watched = null;
inbox.addEventListener("change", () => { watched = inbox.value; watch(watched); });

function chosen() {
  const who = $("#who input:checked");
  const person = who?.value ?? "";
  for (const note of document.querySelectorAll("[data-note]")) note.hidden = note.dataset.note !== person;
  $("#line").textContent = who ? who.dataset.number || "number withheld" : "";
  if (person && inbox.value !== person) inbox.value = person;
  if (person && watched !== person) {
    watched = person;
    watch(person);
  }
}
// An authenticator app shows a new code every half minute, so the cheat-sheet does too.
const APP_CODE = /(App code now: )\d+/;
async function appCode() {
  const sheet = document.querySelector("[data-note]:not([hidden])");
  const note = sheet?.querySelector(".note");
  if (!note || document.hidden || !APP_CODE.test(note.textContent)) return;
  try {
    const reply = await fetch(`/demo/app/${encodeURIComponent(sheet.dataset.note)}`, { credentials: "same-origin" });
    const code = reply.ok ? (await reply.text()).trim() : "";
    if (/^\d{6,10}$/.test(code)) note.textContent = note.textContent.replace(APP_CODE, `$1${code}`);
  } catch {
    // The old code stays until the server is back.
  }
}
setInterval(appCode, 3000);

$("#who").addEventListener("change", () => { chosen(); appCode(); });
$("#who").addEventListener("submit", (event) => event.preventDefault());

const asked = new URLSearchParams(location.search);
state("idle", "Ready");
line("event", "Choose who calls, then press Call.");
if (/^[0-9]{10}$/.test(asked.get("token") ?? "")) {
  token = asked.get("token");
  history.replaceState(null, "", location.pathname);
  const owner = document.querySelector(`#who input[value="${CSS.escape(asked.get("person") ?? "")}"]`);
  if (owner) owner.checked = true;
  state("idle", "Ready");
  line("event", "The portal dials: its number carries a token. Press Call.");
}
chosen();
if (!mail && inbox.value) watch(inbox.value);
show();

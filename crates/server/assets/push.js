// The switch that lets us wake this device: a button #push-toggle, and #push-status for words.

const button = document.getElementById("push-toggle");
const status = document.getElementById("push-status");
let on = false;

function say(text) { if (status) status.textContent = text; }

function draw() {
  if (!button) return;
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "Stop waking this device" : "Wake this device when we ask";
  button.disabled = false;
}

const coded = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const plain = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

async function known() {
  const reply = await fetch("/me/push/key", { credentials: "same-origin" });
  if (reply.redirected || !reply.ok) throw new Error("You are signed out, or we are too busy. Open the page again.");
  return reply.json();
}

async function tell(path, body) {
  const reply = await fetch(path, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (reply.status === 204) return;
  const said = await reply.json().catch(() => null);
  throw new Error(said?.message ?? "That did not work. Open the page again.");
}

/// What this browser is subscribed with, if it is ours and of this account.
async function present(server) {
  const registration = await navigator.serviceWorker.getRegistration("/");
  const subscription = await registration?.pushManager.getSubscription();
  if (!subscription) return null;
  const hash = coded(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint)));
  return server.devices.includes(hash) ? subscription : null;
}

async function start(server) {
  if (await Notification.requestPermission() !== "granted") {
    throw new Error("Your browser does not let us show notifications. Allow them in its settings for this page, then try again.");
  }
  await navigator.serviceWorker.register("/sw.js", { scope: "/" });
  const registration = await navigator.serviceWorker.ready;
  const key = plain(server.key);
  const old = await registration.pushManager.getSubscription();
  // Under another key (the server was set up anew) it is of no use to anybody.
  if (old && coded(old.options.applicationServerKey ?? new ArrayBuffer(0)) !== server.key) await old.unsubscribe();
  const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  await tell("/me/push/subscribe", subscription.toJSON());
}

async function stop(subscription) {
  await tell("/me/push/unsubscribe", { endpoint: subscription.endpoint });
  await subscription.unsubscribe();
}

async function toggle() {
  button.disabled = true;
  say("");
  try {
    const server = await known();
    const subscription = await present(server);
    await (subscription ? stop(subscription) : start(server));
    on = !subscription;
    say(on ? "This device wakes up when we ask for your approval." : "This device stays silent.");
  } catch (e) {
    say(e instanceof DOMException ? "This browser’s push service does not answer. Try again later, or use another browser." : e.message);
  }
  draw();
}

async function begin() {
  if (!button) return;
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window && window.isSecureContext)) {
    button.hidden = true;
    say("This browser cannot be woken. On an iPhone or iPad, add this page to the home screen first.");
    return;
  }
  button.addEventListener("click", toggle);
  try {
    on = await present(await known()) !== null;
  } catch (e) {
    say(e.message);
  }
  draw();
}

begin();

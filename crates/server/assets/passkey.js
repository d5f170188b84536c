// Talks to authenticators: signing in, confirming, adding a passkey, and approving on a call.

import "./clock.js";

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const keys = (list) => (list ?? []).map((key) => ({ ...key, id: bytes(key.id) }));

/** Asks for a signature. Takes the options of the server, gives the credential for it. */
export async function sign(options) {
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: keys(options.allowCredentials) };
  const found = await navigator.credentials.get({ publicKey });
  const { authenticatorData, clientDataJSON, signature, userHandle } = found.response;
  return {
    id: found.id, rawId: text(found.rawId), type: found.type, clientExtensionResults: {},
    response: {
      authenticatorData: text(authenticatorData), clientDataJSON: text(clientDataJSON), signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  };
}

/** Makes a passkey. */
export async function create(options) {
  const publicKey = {
    ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) }, excludeCredentials: keys(options.excludeCredentials),
  };
  const made = await navigator.credentials.create({ publicKey });
  return {
    id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {},
    response: {
      attestationObject: text(made.response.attestationObject), clientDataJSON: text(made.response.clientDataJSON),
      transports: made.response.getTransports?.() ?? [],
    },
  };
}

/** Posts JSON. An answer that leads elsewhere is followed; an error is thrown in the server's words. */
export async function post(path, body) {
  const reply = await fetch(path, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (reply.redirected) {
    location.assign(reply.url);
    return new Promise(() => {});
  }
  if (reply.ok) return reply.json();
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  throw new Error(page.getElementById("error-help")?.textContent || "That did not work. Try again.");
}

function why(error) {
  if (error?.name === "InvalidStateError") return "This device has a passkey for your account already.";
  if (error?.name === "NotAllowedError") return "It was cancelled, took too long, or there is no passkey here.";
  return error?.message || "That did not work. Try again.";
}

async function run(button) {
  const base = button.dataset.passkey;
  const error = button.closest("section")?.querySelector("[data-passkey-error]");
  if (error) error.hidden = true;
  button.disabled = true;
  try {
    if (!window.PublicKeyCredential) throw new Error("This browser cannot use passkeys.");
    const { ceremony, options } = await post(`${base}/start`, {});
    const answer = { ceremony };
    if (button.hasAttribute("data-passkey-create")) {
      answer.credential = await create(options);
      answer.name = document.querySelector("[data-passkey-name]")?.value ?? "";
    } else {
      answer.credential = await sign(options);
    }
    const { to } = await post(`${base}/finish`, answer);
    location.assign(to);
  } catch (e) {
    if (error) {
      error.textContent = why(e);
      error.hidden = false;
    }
  } finally {
    button.disabled = false;
  }
}

// Also what comes onto the page later.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-passkey]");
  if (button) run(button);
});
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());

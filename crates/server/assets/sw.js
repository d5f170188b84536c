// The portal's worker: shows that something waits, and opens the portal when it is touched. It has
// no part in what the pages fetch, so nothing of an account is ever kept on the device.

const WORDS = {
  en: ["Are you on the phone with us?", "Open this to answer. If you are not, open it and say so."],
  es: ["¿Está hablando por teléfono con nosotros?", "Abra esto para responder. Si no es así, ábralo y díganoslo."],
  de: ["Telefonieren Sie gerade mit uns?", "Öffnen Sie dies, um zu antworten. Wenn nicht, sagen Sie es uns dort."],
};
const PLACE = "/me/phone";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  let request = "";
  try {
    request = String(event.data?.json().request ?? "");
  } catch {
    // Whatever it is: that something waits is all there is to say.
  }
  const [title, body] = WORDS[navigator.language.slice(0, 2)] ?? WORDS.en;
  event.waitUntil(self.registration.showNotification(title, {
    body, tag: request || "waits", renotify: true, requireInteraction: true, icon: "/assets/icon-192.png", badge: "/assets/icon-192.png",
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open());
});

async function open() {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const mine = windows.find((w) => new URL(w.url).pathname.startsWith("/me"));
  if (!mine) return self.clients.openWindow(PLACE);
  const there = await mine.navigate(PLACE).catch(() => null);
  return (there ?? mine).focus();
}

// Times on a page: waits that grow, countdowns that end, instants in the reader's time zone.
// The server's clock is the truth; every fragment brings it along in data-now.

document.documentElement.classList.add("has-js");

let offset = 0;

/** The server's time in milliseconds. */
export const now = () => Date.now() + offset;

/** `4:07`, or `1:04:07`. */
export function length(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  return s >= 3600
    ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
    : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Brings all moving times under `root` up to date. */
export function tick(root = document) {
  for (const element of root.querySelectorAll("[data-since]")) {
    write(element, length((now() - Number(element.dataset.since)) / 1000));
  }
  for (const element of root.querySelectorAll("[data-expires]")) {
    const left = Math.ceil((Number(element.dataset.expires) - now()) / 1000);
    write(element, left > 0 ? length(left) : "over");
    element.classList.toggle("soon", left <= 30);
  }
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localise(root) {
  for (const element of root.querySelectorAll("time[data-local]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = element.dateTime;
    write(element, (element.dataset.local === "clock" ? clock : moment).format(at));
    delete element.dataset.local;
  }
}

/** Takes a page or a new fragment in. */
export function adopt(root = document) {
  const element = root.matches?.("[data-now]") ? root : root.querySelector("[data-now]");
  const server = Number(element?.dataset.now);
  if (server > 0) offset = server - Date.now();
  localise(root);
  tick(root);
}

adopt();
setInterval(() => tick(), 1000);

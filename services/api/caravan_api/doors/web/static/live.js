// The stream of changes: turns what the server says has changed into events that htmx waits for (`live:<topic>`).
// The browser comes back by itself after a broken connection; where it gave up, because a proxy answered for the server,
// we do. The page says so meanwhile, and looks at everything anew afterwards.

const COME_BACK_MS = 3000;
const SAY_SO_AFTER_MS = 1500; // a page that is reloaded, or a server that restarts in between, need not flash
const MINUTE_MS = 60_000;

const note = document.getElementById("stream-note");
let saying;
let wasLost = false;

export function listen(address) {
  connect(address);
  setInterval(() => tell("minute"), MINUTE_MS);
}

function connect(address) {
  const stream = new EventSource(address);
  stream.addEventListener("open", found);
  stream.addEventListener("changed", (event) => JSON.parse(event.data).forEach(tell));
  stream.addEventListener("error", () => {
    lost();
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => connect(address), COME_BACK_MS);
  });
  addEventListener("pagehide", () => stream.close());
}

function tell(topic) {
  document.body.dispatchEvent(new CustomEvent(`live:${topic}`));
}

function lost() {
  wasLost = true;
  saying ??= setTimeout(() => (note.hidden = false), SAY_SO_AFTER_MS);
}

function found() {
  clearTimeout(saying);
  saying = undefined;
  note.hidden = true;
  if (wasLost) tell("all");
  wasLost = false;
}

"use strict";
// Follows the calls that end, until somebody pauses it, looks at another tab, or may no more.
const tail = document.getElementById("tail");
const table = document.getElementById("calls");
const rows = table.querySelector("tbody");
const state = document.getElementById("tail-state");
const empty = document.getElementById("call-row").content.firstElementChild;
const [button] = tail.getElementsByTagName("button");
const KEPT = 200;
let source = null;
let after = tail.dataset.after;
let isPaused = false;
let isOver = false;
let shown = 0;
let later = null;

// Not at each call: who listens would hear nothing else.
function tell(text) {
  clearTimeout(later);
  later = null;
  state.textContent = text;
}

function tellShown() {
  later ??= setTimeout(() => tell(`Following: ${shown} new.`), 3000);
}

function close() {
  source?.close();
  source = null;
}

function over(text) {
  isOver = true;
  close();
  button.hidden = true;
  tell(text);
}

function follow() {
  if (isPaused || isOver || document.hidden || source) return;
  const url = new URL(tail.dataset.stream, location);
  url.searchParams.set("after", after);
  source = new EventSource(url);
  source.addEventListener("open", () => tell(`Following: ${shown} new.`));
  source.addEventListener("call", ({ data, lastEventId }) => {
    after = lastEventId;
    // By its parts: nothing that comes is read as HTML.
    const call = JSON.parse(data);
    const row = empty.cloneNode(true);
    row.id = `call-${call.index}`;
    for (const place of row.querySelectorAll("[data-of]")) place.textContent = call[place.dataset.of];
    const [first, code] = row.querySelectorAll("a");
    first.href = `/calls/${call.index}`;
    code.href = `/calls/${call.index}#code`;
    if (!call.code) code.remove();
    row.querySelector("[data-of=status]").className = call.tone;
    // It may be there as under way.
    document.getElementById(row.id)?.remove();
    rows.prepend(row);
    table.hidden = false;
    document.getElementById("no-calls")?.remove();
    while (rows.rows.length > KEPT) rows.lastElementChild.remove();
    shown += 1;
    tellShown();
  });
  source.addEventListener("at", ({ lastEventId }) => {
    after = lastEventId;
  });
  source.addEventListener("more", ({ data }) => tell(data));
  source.addEventListener("end", ({ data }) => over(data));
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) over("The stream is not answered any more: load the page again.");
    else tell("The stream broke off; it is asked for again.");
  });
}

button.addEventListener("click", () => {
  isPaused = !isPaused;
  button.textContent = isPaused ? "Resume" : "Pause";
  if (isPaused) close();
  tell(isPaused ? "Paused." : `Following: ${shown} new.`);
  follow();
});
document.addEventListener("visibilitychange", () => (document.hidden ? close() : follow()));
tail.hidden = false;
follow();

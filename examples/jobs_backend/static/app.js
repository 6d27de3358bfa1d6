// The page: what is open, the key, and news from the server.

import { NoKey, Refused, api, hasKey, setKey } from "./api.js";
import { $, tell } from "./dom.js";
import { Events } from "./events.js";
import { JobView } from "./job.js";
import { JobList } from "./jobs.js";
import { label, nameOf } from "./status.js";
import { Uploads } from "./uploads.js";

const TITLE = document.title;

const list = new JobList();
const view = new JobView();
const uploads = new Uploads();
const events = new Events("/api/events");

// What is said.

function warn(text) {
  tell($("notice-text"), text);
  $("notice").hidden = !text;
}

function report(error) {
  if (error instanceof NoKey) askForKey();
  else if (error.name !== "AbortError") warn(error.message);
}

function askForKey() {
  const was = !$("key-form").hidden;
  $("key-form").hidden = false;
  $("app").hidden = true;
  uploads.enabled = false;
  tell($("state"), "A key is needed");
  tell($("key-error"), hasKey() ? "This key is not the right one." : "");
  warn("");
  setKey("");
  if (!was) $("key").focus();
}

async function showServer() {
  const health = await api("/health");
  uploads.limits = health;
  $("degraded").hidden = !health.degraded;
  tell($("engine"), [health.transcriber, health.analyzer].filter(Boolean).join(" · "));
}

// What is open.

function wanted() {
  const found = /^#\/jobs\/(\d{1,15})$/.exec(location.hash);
  return found ? Number(found[1]) : null;
}

async function open({ byPerson = false } = {}) {
  const id = wanted();
  const before = view.id;
  document.body.classList.toggle("has-job", id !== null);
  list.choose(id);
  if (id === null) view.close();
  $("welcome").hidden = id !== null;
  $("absent").hidden = true;
  if (id === null) {
    document.title = TITLE;
    if (byPerson && before !== null) document.querySelector(`.item[data-id="${before}"] a`)?.focus();
    return;
  }
  try {
    await view.show(id);
    if (byPerson && wanted() === id) {
      $("job").focus({ preventScroll: true });
      $("job").scrollIntoView({ block: "nearest" });
      if (matchMedia("(max-width: 60rem)").matches) scrollTo(0, 0);
    }
  } catch (error) {
    if (wanted() !== id) return;
    const isGone = error instanceof Refused && error.status === 404;
    // What is shown stays where only the server is away.
    if (isGone || id !== view.id) view.close();
    if (isGone) {
      $("absent").hidden = false;
      tell($("absent"), "This recording is not there any more.");
    } else {
      report(error);
    }
  }
}

function removed(id) {
  list.remove(id);
  if (wanted() !== id) return;
  // Going back must not lead to it again.
  history.replaceState(null, "", "#/");
  open();
  $("jobs").focus({ preventScroll: true });
  tell($("said"), "The recording is deleted.");
}

function changed(job) {
  const before = list.get(job.id);
  list.put(job);
  view.news(job);
  const isOver = before?.status === "processing" && job.status !== "processing";
  if (isOver) tell($("said"), `${nameOf(job)}: ${label(job)}.`);
}

// News.

events.addEventListener("open", async () => {
  const wasAsked = !$("key-form").hidden;
  $("key-form").hidden = true;
  $("app").hidden = false;
  if (wasAsked) $("jobs").focus({ preventScroll: true });
  uploads.enabled = true;
  tell($("state"), "Connected");
  warn("");
  // What happened in between is not told again.
  const asked = await Promise.allSettled([list.refresh(), open(), showServer()]);
  for (const { reason } of asked) if (reason) report(reason);
});

events.addEventListener("lost", () => tell($("state"), "Not connected. Trying again…"));
events.addEventListener("key", askForKey);
events.addEventListener("message", ({ detail: { kind, data } }) => {
  if (kind === "job") changed(data);
  else if (kind === "deleted") for (const id of data.ids ?? [data.id]) removed(id);
});

list.onError = report;
view.addEventListener("changed", ({ detail }) => {
  warn("");
  list.put(detail.job);
});
view.addEventListener("deleted", ({ detail }) => removed(detail.id));
view.addEventListener("failed", ({ detail }) => report(detail.error));
uploads.addEventListener("key", askForKey);
uploads.addEventListener("uploaded", ({ detail: { job, only } }) => {
  list.put(job);
  if (only) location.hash = `#/jobs/${job.id}`;
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  tell($("key-error"), "");
  events.open();
});

$("notice-close").addEventListener("click", () => warn(""));

for (const link of document.querySelectorAll("[data-skip]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    $(link.dataset.skip).focus();
  });
}

window.addEventListener("hashchange", () => open({ byPerson: true }));
window.addEventListener("online", () => events.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) events.hurry();
});

events.open();

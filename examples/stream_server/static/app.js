// The page: lists the sessions, plays them, and sends a file.

import { CaptureClient } from "./client.js";

const PAGE = 50;
const EVERY_MS = 2000;
const CHUNK = 16384;
const LABELS = { active: "recording", interrupted: "interrupted", completed: "completed" };

const $ = (id) => document.getElementById(id);
const cards = new Map(); // by session id
let key = sessionStorage.getItem("voicepipe-key") ?? "";
let pages = 1;
let round = 0;

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

class NoKey extends Error {}

async function api(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) throw new NoKey();
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `the server answered ${answer.status}`);
  return body;
}

async function fetchSessions() {
  const found = [];
  for (let page = 0; page < pages; page += 1) {
    const query = new URLSearchParams({ limit: PAGE });
    if ($("filter").value) query.set("status", $("filter").value);
    if (found.length) query.set("before", found.at(-1).session_id);
    const part = await api(`/api/audio/sessions?${query}`);
    found.push(...part);
    $("older").hidden = part.length < PAGE;
    if (part.length < PAGE) break;
  }
  return found;
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let at = 0;
  for (; count >= 1024 && at < 3; at += 1) count /= 1024;
  return `${count.toFixed(at ? 1 : 0)} ${units[at]}`;
}

function audioUrl(session, download = false) {
  const query = new URLSearchParams(download ? { download: "true" } : {});
  if (key) query.set("token", key);
  return query.size ? `${session.audio_url}?${query}` : session.audio_url;
}

function makeCard(id) {
  const card = $("session").content.firstElementChild.cloneNode(true);
  card.dataset.session = id;
  card.querySelector(".id").textContent = id;
  card.querySelector(".play").addEventListener("click", () => play(card));
  card.querySelector(".finish").addEventListener("click", () => finish(card));
  return card;
}

function play(card) {
  const audio = card.querySelector("audio");
  if (!audio.getAttribute("src")) audio.src = audioUrl(card.session);
  card.querySelector(".player").hidden = false;
  card.querySelector(".play").hidden = true;
  audio.focus();
  audio.play().catch(() => {});
}

async function finish(card) {
  const button = card.querySelector(".finish");
  button.disabled = true;
  try {
    await api(`/api/audio/sessions/${card.session.session_id}/close`, { method: "POST" });
    await refresh();
  } catch (error) {
    report(error);
  }
  button.disabled = false;
}

function fill(card, session) {
  const said = card.session;
  card.session = session;
  if (said && JSON.stringify(said) === JSON.stringify(session)) return;
  const name = session.user_id || "Unnamed";
  const live = session.status === "active";
  card.className = `card session ${session.status}`;
  card.querySelector(".badge").textContent = LABELS[session.status];
  card.querySelector("h3").textContent = name;
  card.querySelector("time").dateTime = session.created_at;
  card.querySelector("time").textContent = when.format(new Date(session.created_at));
  card.querySelector(".duration").textContent = clock(session.duration_seconds);
  card.querySelector(".more").textContent = [
    `${session.sample_rate / 1000} kHz ${session.channels === 2 ? "stereo" : "mono"}`,
    bytes(session.bytes_received),
    `${session.total_chunks} ${session.total_chunks === 1 ? "chunk" : "chunks"}`,
    ...(live ? [`${session.connections} connected`] : []),
  ].join(" · ");
  const shown = !card.querySelector(".player").hidden;
  card.querySelector(".play").hidden = live || shown;
  card.querySelector(".play").setAttribute("aria-label", `Play the session of ${name}`);
  card.querySelector(".download").hidden = live;
  card.querySelector(".download").href = audioUrl(session, true);
  card.querySelector(".finish").hidden = session.status === "completed";
}

function show(sessions) {
  const list = $("sessions");
  const wanted = new Set(sessions.map((session) => session.session_id));
  for (const [id, card] of cards) {
    if (!wanted.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  sessions.forEach((session, at) => {
    let card = cards.get(session.session_id);
    if (!card) cards.set(session.session_id, (card = makeCard(session.session_id)));
    fill(card, session);
    // A player that is moved stops.
    if (list.children[at] !== card) list.insertBefore(card, list.children[at] ?? null);
  });
  const live = sessions.filter((session) => session.status === "active").length;
  say(live ? `${live} being recorded` : "Nothing is being recorded");
  $("empty").hidden = sessions.length > 0;
}

// Said again each time, it would be read out each time.
function say(text) {
  if ($("state").textContent !== text) $("state").textContent = text;
}

function report(error) {
  if (error instanceof NoKey) {
    askForKey(key ? "This key is not the right one." : "");
  } else {
    say(error instanceof TypeError ? "The server cannot be reached" : error.message);
  }
}

function askForKey(text) {
  say("A key is needed");
  $("key-error").textContent = text;
  if ($("key-form").hidden) {
    lock(true);
    $("key").focus();
  }
  key = "";
}

function lock(locked) {
  $("key-form").hidden = !locked;
  $("sender").hidden = locked;
  $("list").hidden = locked;
}

async function refresh() {
  round += 1;
  const mine = round;
  try {
    const sessions = await fetchSessions();
    if (mine !== round) return; // another one has overtaken it
    lock(false);
    $("key-error").textContent = "";
    show(sessions);
  } catch (error) {
    if (mine === round) report(error);
  }
}

async function watch() {
  for (;;) {
    if (!document.hidden && $("key-form").hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

async function sendFile(form) {
  const file = form.file.files[0];
  const progress = $("send-progress");
  const name = file.name.split(".").at(-1).toLowerCase();
  const client = new CaptureClient(location.origin.replace(/^http/, "ws"), {
    rate: form.rate.value,
    channels: form.channels.value,
    format: ["mp3", "flac", "aac"].includes(name) ? name : "wav",
    userId: file.name.slice(0, 256),
    token: key,
  });
  let fault = "";
  client.addEventListener("ack", () => (progress.value = client.acknowledgedBytes / file.size));
  client.addEventListener("failed", ({ detail }) => (fault ||= detail.detail));
  progress.hidden = false;
  try {
    await client.open();
    for (let at = 0; at < file.size && !fault; at += CHUNK) {
      await client.send(await file.slice(at, at + CHUNK).arrayBuffer());
    }
    const info = await client.close();
    if (fault) throw new Error(fault);
    return `Stored: ${clock(info.duration_seconds)} in ${info.chunk_count} chunks.`;
  } finally {
    client.disconnect();
  }
}

$("send-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  $("send-state").textContent = "Sending…";
  try {
    $("send-state").textContent = await sendFile(form);
  } catch (error) {
    $("send-state").textContent = `Not stored: ${error.message}`;
  }
  $("send-progress").hidden = true;
  button.disabled = false;
  await refresh();
});

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("voicepipe-key", key);
  for (const card of cards.values()) card.querySelector("audio").removeAttribute("src");
  await refresh();
});

$("filter").addEventListener("change", () => {
  pages = 1;
  refresh();
});

$("older").addEventListener("click", () => {
  pages += 1;
  refresh();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && $("key-form").hidden) refresh();
});

watch();

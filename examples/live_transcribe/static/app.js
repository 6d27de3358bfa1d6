// The page: records, shows the words while they are said, and gives them away as files.

import { LiveClient } from "./live.js";
import { Microphone, microphones } from "./microphone.js";
import { Transcript, clock } from "./transcript.js";

const SILENT = 0.003; // quieter than any microphone in a room
const SILENT_S = 6;
const BEHIND_S = 5; // worth telling, and how exactly
const NO_SOUND = "The microphone gives no sound. Is it muted, or the wrong one?";
const PATIENCE_MS = 10000; // for the server to tell how it is
const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt" };

const $ = (id) => document.getElementById(id);
const transcript = new Transcript($("text"));
let key = sessionStorage.getItem("voicepipe-key") ?? "";
let recording = null; // { microphone, client, … } until its last word is there
let offset = 0; // seconds of the recordings before
let lock = null;

class NoKey extends Error {}
class Refused extends Error {}

// What is said.

// Said again each time, it would be read out each time.
function say(text) {
  if ($("state").textContent !== text) $("state").textContent = text;
}

function warn(text, kind = "error") {
  const notice = $("notice");
  notice.classList.toggle("warn", kind === "warn");
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = !text;
}

// How a recording goes; behind Stop it is not one any more.
function sayRecording(detail = "") {
  if (!recording) return;
  const { gone, loading, stopping } = recording;
  const more = loading ? "the engine is still being loaded" : detail;
  if (gone) say("Reconnecting…");
  else if (more) say(`${stopping ? "Finishing" : "Recording"}; ${more}`);
  else say(stopping ? "Finishing…" : "Recording");
}

// The same words are read out again only if there were none in between.
function announce(text) {
  $("done").textContent = text;
}

// Only what is certain is read out; and each once.
function readOut(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("said").append(line);
  while ($("said").children.length > 3) $("said").firstChild.remove();
}

// The server.

async function meet() {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch("/v1/models", { headers, cache: "no-store" });
  if (answer.status === 401) throw new NoKey();
  if (!answer.ok) throw new Refused(await reason(answer));
  const health = await (await fetch("/health", { cache: "no-store" })).json();
  showEngine(health.engine, health.degraded);
  return health;
}

async function reason(answer) {
  const { error } = await answer.json().catch(() => ({}));
  const said = error?.message ?? error ?? answer.statusText;
  return `The server answered ${answer.status}${said ? `: ${said}` : ""}.`;
}

// Tell whether the server loads its engine.
async function isLoading() {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch("/health", { cache: "no-store", signal });
  return (await answer.json()).status === "starting";
}

function showEngine(name, degraded) {
  $("engine").textContent = `Engine: ${name}`;
  $("degraded").hidden = !degraded;
}

async function greet() {
  try {
    const health = await meet();
    askForKey(false);
    say(health.status === "starting" ? "The engine is being loaded" : "Ready");
    warn("");
    return true;
  } catch (error) {
    if (error instanceof NoKey) {
      askForKey(true, key ? "This key is not the right one." : "");
    } else {
      const told = error instanceof Refused && error.message;
      say("Not connected");
      warn(told || "The server cannot be reached. Is it running?");
    }
    return false;
  }
}

function askForKey(wanted, text = "") {
  const was = !$("key-form").hidden;
  $("key-form").hidden = !wanted;
  $("recorder").hidden = wanted;
  $("key-error").textContent = text;
  if (!wanted) return;
  say("A key is needed");
  key = "";
  if (!was) $("key").focus();
}

function socketUrl() {
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (key) url.searchParams.set("token", key);
  return url.href;
}

// A recording.

async function start() {
  busy("Starting…");
  announce("");
  warn("");
  if (!(await greet())) {
    busy("");
    return;
  }
  const microphone = new Microphone();
  try {
    await microphone.open($("microphone").value);
  } catch (error) {
    busy("");
    say("Not recording");
    warn(error.message);
    listMicrophones();
    return;
  }
  const { rate } = microphone;
  const client = new LiveClient(socketUrl(), { rate, offset, loads: isLoading });
  recording = { microphone, client, silentS: 0, lostS: 0, gone: false };
  listen(client);
  microphone.addEventListener("samples", ({ detail }) => take(detail));
  microphone.addEventListener("lost", () => {
    stop("The microphone has gone. What was said until then is kept.");
  });
  client.open();
  busy("");
  document.body.classList.add("recording");
  $("record-label").textContent = "Stop Recording";
  say("Connecting…");
  listMicrophones();
  lock = await navigator.wakeLock?.request("screen").catch(() => null);
}

function listen(client) {
  const on = (kind, tell) => client.addEventListener(kind, ({ detail }) => tell(detail));
  on("ready", ({ engine, degraded, loading, again }) => {
    showEngine(engine, degraded);
    if (again) {
      transcript.hold();
      warn(missing(), "warn");
    }
    if (recording) Object.assign(recording, { gone: false, loading });
    sayRecording();
  });
  on("text", ({ id, lag, ...segment }) => {
    transcript.put(`${offset}/${id}`, segment);
    if (segment.final && segment.text.trim()) readOut(segment.text);
    if (recording) recording.loading = false;
    const isLate = lag > BEHIND_S && !recording?.stopping;
    const late = BEHIND_S * Math.round(lag / BEHIND_S);
    sayRecording(isLate ? `the text is ${late} s behind` : "");
  });
  on("lost", ({ message }) => {
    if (recording) recording.gone = true;
    transcript.wait();
    sayRecording();
    const talks = recording && !recording.stopping;
    const kept = talks ? "Keep talking: the sound is kept and will be sent." : "";
    warn(`The connection to the server is lost. ${message} Reconnecting… ${kept}`, "warn");
  });
  on("dropped", ({ seconds }) => {
    if (recording) recording.lostS += seconds;
    warn(missing());
  });
  on("failed", ({ message }) => {
    warn(message);
    stop(message);
  });
}

// What is to be told of sound that the server never had.
function missing() {
  const seconds = Math.ceil(recording?.lostS ?? 0);
  if (!seconds) return "";
  return `The server was away for too long, or too slow: ${seconds} s of sound are lost.`;
}

function take({ samples, peak }) {
  if (!recording) return; // a last block, later than anybody waits for it
  recording.client.send(samples);
  $("clock").textContent = clock(recording.client.seconds);
  recording.silentS = peak < SILENT ? recording.silentS + 0.1 : 0;
  if (recording.silentS > SILENT_S && !recording.gone) warn(NO_SOUND, "warn");
  // Only this: another notice may have come instead.
  else if (!recording.silentS && $("notice").textContent === NO_SOUND) warn(missing());
  drawLevel(peak);
}

async function stop(reason = "") {
  if (!recording || recording.stopping) return;
  const { microphone, client } = recording;
  recording.stopping = true;
  busy("Finishing…");
  sayRecording();
  await microphone.close();
  const complete = await client.stop();
  const lost = missing();
  offset += Math.ceil(client.seconds);
  recording = null;
  lock?.release();
  lock = null;
  transcript.settle(complete).forEach(readOut);
  document.body.classList.remove("recording");
  $("record-label").textContent = "Start Recording";
  busy("");
  drawLevel(null);
  say(complete ? "Ready" : "Not connected");
  if (complete && !lost) announce("The recording has ended; its text is complete.");
  if (reason) warn(reason);
  else if (complete) warn(lost);
}

// Not `disabled`: a button that has the keyboard's focus would lose it.
function busy(text) {
  $("record").setAttribute("aria-disabled", Boolean(text));
  $("microphone").disabled = Boolean(text || recording);
  if (text) say(text);
}

// The level: the last seconds as bars.

const peaks = [];

function drawLevel(peak) {
  const canvas = $("level");
  const context = canvas.getContext("2d");
  const count = Math.floor(canvas.width / 8);
  if (peak === null) peaks.length = 0;
  else peaks.push(peak);
  while (peaks.length > count) peaks.shift();
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(canvas).color;
  for (let at = 0; at < count; at += 1) {
    const value = peaks[peaks.length - count + at] ?? 0;
    // A logarithmic scale of 50 dB: loudness as ears have it.
    const loud = value > 0 ? Math.max(0, 1 + Math.log10(value) / 2.5) : 0;
    const height = Math.max(2, loud * canvas.height);
    context.globalAlpha = loud ? 1 : 0.35;
    context.fillRect(at * 8, (canvas.height - height) / 2, 5, height);
  }
  const now = peak ? Math.max(0, Math.round(100 * (1 + Math.log10(peak) / 2.5))) : 0;
  canvas.setAttribute("aria-valuenow", now);
}

async function listMicrophones() {
  const select = $("microphone");
  const chosen = select.value || localStorage.getItem("voicepipe-microphone") || "";
  const found = (await microphones()).filter(({ deviceId }) => deviceId !== "default");
  const options = found.map(({ deviceId, label }, at) => {
    return new Option(label || `Microphone ${at + 1}`, deviceId);
  });
  select.replaceChildren(new Option("Default", ""), ...options);
  select.value = found.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
}

// What one can do with the text.

function save(kind) {
  const text = { txt: "toTxt", srt: "toSrt", vtt: "toVtt" }[kind];
  const blob = new Blob([transcript[text]()], { type: `${TYPES[kind]};charset=utf-8` });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  const when = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  link.download = `transcript-${when}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(transcript.toTxt());
    $("copy").textContent = "Copied";
    announce("Copied");
  } catch {
    $("copy").textContent = "Not copied";
    warn("The browser does not let the page copy. Select the text, and copy it by keyboard.");
  }
  setTimeout(() => {
    $("copy").textContent = "Copy";
    if ($("done").textContent === "Copied") announce("");
  }, 2000);
}

const tools = [$("copy"), $("clear"), ...document.querySelectorAll("[data-save]")];

transcript.addEventListener("change", () => {
  $("empty").hidden = !transcript.isEmpty;
  for (const tool of tools) tool.disabled = transcript.isEmpty;
});

$("record").addEventListener("click", ({ currentTarget }) => {
  if (currentTarget.getAttribute("aria-disabled") === "true") return;
  if (recording) stop();
  else start();
});
$("copy").addEventListener("click", copy);
$("clear").addEventListener("click", () => {
  transcript.clear();
  $("record").focus();
});
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save));
}

$("microphone").addEventListener("change", ({ target }) => {
  localStorage.setItem("voicepipe-microphone", target.value);
});

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("voicepipe-key", key);
  if (await greet()) $("record").focus();
});

window.addEventListener("beforeunload", (event) => {
  if (recording) event.preventDefault();
});

navigator.mediaDevices?.addEventListener("devicechange", listMicrophones);

drawLevel(null);
listMicrophones();
greet();

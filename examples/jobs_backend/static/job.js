// One conversation: its state, sound, transcript and findings, and what one can do with it.

import { api, ask, mediaUrl } from "./api.js";
import { cleanRows } from "./clean.js";
import { $, clock, colourOf, language, make, tell, when } from "./dom.js";
import { Editor } from "./editor.js";
import { Player } from "./player.js";
import { Points } from "./points.js";
import { badge, doing, label, nameOf, progressBar } from "./status.js";
import { showTalk } from "./talk.js";
import { TranscriptView } from "./transcript.js";
import { Waveform } from "./waveform.js";

const RUN = { uploaded: "Transcribe", done: "Transcribe again", error: "Try again" };

/**
 * Events: `changed` with { job }, `deleted` with { id }, `failed` with { error }.
 */
export class JobView extends EventTarget {
  #job = null;
  #wanted = null; // id of the job that is open, or about to be
  #rows = []; // the segments, with speakers for all
  #byId = new Map();
  #speakers = [];
  #round = 0;
  #version = "heard";
  #cited = []; // ids of the segments that the point rests on that was gone to
  #hasSound = false;
  #player = new Player();
  #wave = new Waveform();
  #transcript = new TranscriptView();
  #points = new Points();
  #editor = new Editor();

  constructor() {
    super();
    for (const part of [this.#wave, this.#transcript]) {
      part.addEventListener("seek", ({ detail }) => this.#seek(detail.time));
    }
    this.#points.addEventListener("go", ({ detail }) => this.#go(detail.ids));
    this.#points.addEventListener("hover", ({ detail }) => this.#cite(detail.ids ?? this.#cited));
    this.#player.addEventListener("time", ({ detail }) => this.#showTime(detail));
    this.#player.addEventListener("fault", () => this.#judge());
    this.#player.addEventListener("begin", () => this.#transcript.catchUp());
    this.#editor.addEventListener("saved", ({ detail }) => this.#take(detail.job));
    this.#listen();
  }

  /** Number of the job that is open, null without one. */
  get id() {
    return this.#job?.id ?? null;
  }

  /** Open a job. */
  async show(id) {
    this.#round += 1;
    const mine = this.#round;
    this.#wanted = id;
    // Until it is there, nothing can be done to the one before by mistake.
    if (id !== this.id) $("job").inert = true;
    const job = await api(`/api/jobs/${id}`);
    if (mine !== this.#round) return;
    $("job").inert = false;
    const isOther = job.id !== this.id;
    if (isOther) this.#version = "heard";
    this.#render(job, !isOther);
    // Where the sound is redacted, it is there only at the end.
    if (isOther || (job.status === "done" && !this.#hasSound)) this.#load();
  }

  /** Close what is open. */
  close() {
    this.#round += 1;
    this.#job = null;
    this.#wanted = null;
    $("job").inert = false;
    this.#player.load(null);
    this.#editor.close();
    $("confirm").close();
    $("job").hidden = true;
  }

  /** Take news of the open job: how far it has come, or that there are results. */
  news(job) {
    if (job.id !== this.id || job.id !== this.#wanted) return;
    const shown = this.#job;
    const isNew = job.status !== shown.status || job.updated_at !== shown.updated_at;
    if (job.status === "processing" && shown.status === "processing") {
      this.#job = { ...shown, ...job };
      this.#renderState();
    } else if (isNew) {
      this.#try(() => this.show(job.id));
    }
  }

  #listen() {
    const post = (what) => this.#do(async () => {
      this.#take(await api(`/api/jobs/${this.id}/${what}`, { method: "POST" }));
    });
    $("run").addEventListener("click", () => post("run"));
    $("cancel").addEventListener("click", () => post("cancel"));
    $("edit").addEventListener("click", () => this.#editor.open(this.#job));
    $("delete").addEventListener("click", () => {
      tell($("confirm-name"), nameOf(this.#job));
      $("confirm").showModal();
    });
    $("confirm-no").addEventListener("click", () => $("confirm").close());
    $("confirm-yes").addEventListener("click", () => this.#do(() => this.#delete()));
    for (const button of document.querySelectorAll("[data-format]")) {
      button.addEventListener("click", () => this.#try(() => this.#download(button.dataset.format)));
    }
    for (const button of document.querySelectorAll("[data-version]")) {
      button.addEventListener("click", () => this.#showVersion(button.dataset.version));
    }
    const menu = $("downloads");
    document.addEventListener("click", ({ target }) => {
      if (!menu.contains(target)) menu.open = false;
    });
    menu.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
    for (const kind of ["wheel", "touchmove"]) {
      const letGo = (event) => this.#player.playing && this.#transcript.letGo(event);
      window.addEventListener(kind, letGo, { passive: true });
    }
  }

  // What one can do with it.

  async #try(act) {
    try {
      await act();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("failed", { detail: { error } }));
    }
  }

  async #do(act) {
    const buttons = ["run", "cancel", "edit", "delete", "confirm-yes"].map($);
    for (const button of buttons) button.disabled = true;
    await this.#try(act);
    for (const button of buttons) button.disabled = false;
  }

  #take(job) {
    if (job.id === this.id) this.#render(job, true);
    this.dispatchEvent(new CustomEvent("changed", { detail: { job } }));
  }

  async #delete() {
    const { id } = this;
    await api(`/api/jobs/${id}`, { method: "DELETE" }).finally(() => $("confirm").close());
    this.dispatchEvent(new CustomEvent("deleted", { detail: { id } }));
  }

  async #download(format) {
    $("downloads").open = false;
    $("downloads").querySelector("summary").focus();
    const query = new URLSearchParams({ format, download: 1 });
    const answer = await ask(`/api/jobs/${this.id}/transcript?${query}`);
    const link = make("a", { download: `${nameOf(this.#job).replace(/\.\w+$/, "")}.${format}` });
    link.href = URL.createObjectURL(await answer.blob());
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  #go(ids) {
    if (!this.#transcript.has(ids[0])) this.#showVersion("heard");
    this.#player.seek(this.#byId.get(ids[0]).start);
    this.#transcript.goTo(ids);
    this.#cited = ids;
    this.#cite(ids);
  }

  #seek(time) {
    this.#cited = [];
    this.#cite([]);
    this.#transcript.goTo([]);
    this.#transcript.follows = true;
    this.#player.seek(time);
  }

  #cite(ids) {
    this.#wave.cite(ids.map((id) => this.#byId.get(id)));
  }

  #showTime({ time, jump }) {
    this.#wave.showTime(time);
    this.#transcript.showTime(time, { jump, playing: this.#player.playing });
  }

  // How it looks.

  #load() {
    const { id } = this;
    this.#hasSound = false;
    $("player").hidden = false;
    this.#player.load(mediaUrl(`/api/jobs/${id}/audio`));
    this.#player.length = this.#job.duration;
    this.#wave.showSound([], this.#job.duration ?? 0);
    $("seek").hidden = !this.#job.duration;
    api(`/api/jobs/${id}/waveform`).then(({ peaks, duration }) => {
      if (id !== this.id) return;
      this.#hasSound = true;
      $("seek").hidden = false;
      $("seek").classList.toggle("two", peaks.length > 1);
      this.#player.length = duration;
      this.#wave.showSound(peaks, duration);
    }).catch(() => this.#judge());
  }

  // A recording that is no sound, or not to be heard yet; its job tells why.
  #judge() {
    $("player").hidden = this.#player.faulty && !this.#hasSound;
  }

  // Results that were put right come where one is reading: `stay`.
  #render(job, stay) {
    this.#job = job;
    this.#rows = (job.segments ?? []).map((segment) => {
      const { speaker, channel } = segment;
      return { ...segment, speaker: speaker ?? (channel === null ? null : `Channel ${channel}`) };
    });
    this.#byId = new Map(this.#rows.map((row) => [row.id, row]));
    const labels = [...this.#rows, ...(job.metrics?.speakers ?? [])].map(({ speaker }) => speaker);
    this.#speakers = [...new Set(labels)].filter((speaker) => speaker !== null).sort();
    $("job").hidden = false;
    tell($("job-name"), nameOf(job));
    document.title = `${nameOf(job)} · Conversations`;
    this.#renderState();
    this.#renderResults(stay);
  }

  #renderState() {
    const job = this.#job;
    const { status } = job;
    badge($("job-badge"), job);
    const facts = [job.duration ? clock(job.duration) : "", when(job.created_at)];
    const { transcriber, analyzer } = job.models ?? {};
    tell($("job-facts"), [...facts, transcriber, analyzer].filter(Boolean).join(" · "));
    tell($("run"), RUN[status] ?? "");
    $("run").classList.toggle("plain", status === "done");
    $("run").hidden = status === "processing";
    $("cancel").hidden = status !== "processing";
    $("edit").hidden = status === "processing" || !job.segments;
    $("downloads").hidden = !job.segments;
    $("working").hidden = status !== "processing";
    tell($("working-text"), doing(job));
    progressBar($("working-progress"), job);
    $("job-error").hidden = status !== "error";
    const tries = job.attempts > 1 ? ` after ${job.attempts} attempts` : "";
    tell($("job-error-title"), label(job) === "cancelled" ? "Cancelled." : `Failed${tries}.`);
    tell($("job-error-text"), label(job) === "cancelled" ? "" : (job.error_message ?? ""));
  }

  #renderResults(stay) {
    const job = this.#job;
    document.querySelector(".columns").hidden = !job.segments;
    const kinds = [job.conversation_type, job.language && language(job.language)].filter(Boolean);
    $("kind").replaceChildren(...kinds.map((text) => make("span", { class: "chip", dir: "auto" }, text)));
    this.#points.show(job, this.#byId);
    this.#renderLegend();
    showTalk(job.metrics, this.#speakers, (time) => this.#seek(time));
    this.#cited = [];
    this.#wave.cite([]);
    this.#wave.showTurns(this.#rows, this.#speakers);
    const asHeard = this.#rows.map(({ speaker, text }) => `${speaker ? `${speaker}: ` : ""}${text}`);
    const isClean = job.clean_transcript && squeezed(job.clean_transcript) !== squeezed(asHeard.join("\n"));
    $("versions").hidden = !isClean;
    $("versions").querySelector(".edited").hidden = !(job.edited ?? []).includes("clean_transcript");
    this.#showVersion(isClean ? this.#version : "heard", stay);
  }

  #renderLegend() {
    const items = this.#speakers.map((speaker) => {
      const dot = make("span", { class: `dot ${colourOf(speaker, this.#speakers)}`, "aria-hidden": "true" });
      return make("li", {}, dot, make("bdi", {}, speaker));
    });
    $("legend").replaceChildren(...items);
  }

  #showVersion(version, stay = false) {
    this.#version = version;
    for (const button of document.querySelectorAll("[data-version]")) {
      button.setAttribute("aria-pressed", button.dataset.version === version);
    }
    const rows = version === "heard"
      ? this.#rows
      : cleanRows(this.#job.clean_transcript, this.#rows, this.#speakers);
    this.#transcript.show(rows, this.#speakers, stay);
    $("no-segments").hidden = rows.length > 0;
    tell($("no-segments"), "No words were heard in this recording.");
    $("follow").hidden = !rows.some(({ end }) => end !== undefined);
    this.#showTime({ time: this.#player.time, jump: !stay });
  }
}

const squeezed = (text) => text.trim().replace(/\s+/g, " ");

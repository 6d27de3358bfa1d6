// The list of recordings: newest first, a page at a time, kept up to date by events.

import { api } from "./api.js";
import { $, tell, when } from "./dom.js";
import { badge, doing, nameOf, progressBar } from "./status.js";

const PAGE = 30;
const MOST = 1000; // the server gives no more at once

export class JobList {
  #jobs = new Map(); // by id: { job, element }
  #gone = new Set(); // ids are never used again
  #more = false;
  #round = 0;
  #chosen = null;

  constructor() {
    $("filter").addEventListener("change", () => {
      this.#clear();
      this.#guarded(this.refresh());
    });
    $("older").addEventListener("click", () => this.#guarded(this.#older()));
  }

  /** Called with what went wrong when the list was asked for by a person. */
  onError = () => {};

  /** Ask the server again for as many as are shown. */
  async refresh() {
    this.#round += 1;
    const mine = this.#round;
    const limit = Math.min(MOST, Math.max(PAGE, this.#jobs.size));
    const found = await this.#page(limit);
    if (mine !== this.#round) return; // another one has overtaken it
    const wanted = new Set(found.map(({ id }) => id));
    for (const id of [...this.#jobs.keys()]) if (!wanted.has(id)) this.#drop(id);
    this.#more = found.length === limit;
    for (const job of found) this.#put(job);
    this.#show();
  }

  /** Take news of one job. */
  put(job) {
    const { id } = job;
    const filter = $("filter").value;
    const oldest = Math.min(...this.#jobs.keys());
    if (filter && job.status !== filter) this.#drop(id);
    else if (this.#jobs.has(id) || !this.#more || id > oldest) this.#put(job);
    this.#show();
  }

  /** Take a job away for good. */
  remove(id) {
    this.#gone.add(id);
    this.#drop(id);
    this.#show();
  }

  /** Give what is known of a job, null for nothing. */
  get(id) {
    return this.#jobs.get(id)?.job ?? null;
  }

  /** Mark the job that is open. */
  choose(id) {
    this.#chosen = id;
    for (const [other, { element }] of this.#jobs) this.#mark(element, other);
  }

  async #older() {
    const button = $("older");
    button.disabled = true;
    const mine = this.#round;
    try {
      const found = await this.#page(PAGE, Math.min(...this.#jobs.keys()));
      if (mine !== this.#round) return;
      this.#more = found.length === PAGE;
      for (const job of found) this.#put(job);
      this.#show();
      // Who came by keyboard goes on with the first of the new ones.
      const first = found.length ? this.#jobs.get(found[0].id) : null;
      first?.element.querySelector("a").focus({ preventScroll: true });
    } finally {
      button.disabled = false;
    }
  }

  async #page(limit, before) {
    const query = new URLSearchParams({ limit, results: "false" });
    if ($("filter").value) query.set("status", $("filter").value);
    if (before !== undefined) query.set("before", before);
    return api(`/api/jobs?${query}`);
  }

  async #guarded(promise) {
    try {
      await promise;
    } catch (error) {
      this.onError(error);
    }
  }

  #put(job) {
    if (this.#gone.has(job.id)) return;
    const known = this.#jobs.get(job.id);
    // A list that was asked for earlier may come after an event.
    if (known && Date.parse(known.job.updated_at) > Date.parse(job.updated_at)) return;
    const element = known?.element ?? this.#insert(job.id);
    this.#jobs.set(job.id, { job, element });
    this.#fill(element, job);
  }

  #insert(id) {
    const element = $("job-item").content.firstElementChild.cloneNode(true);
    element.dataset.id = id;
    element.querySelector("a").href = `#/jobs/${id}`;
    const next = [...$("jobs").children].find((other) => Number(other.dataset.id) < id);
    $("jobs").insertBefore(element, next ?? null);
    this.#mark(element, id);
    return element;
  }

  #fill(element, job) {
    const part = (name) => element.querySelector(name);
    tell(part(".name"), nameOf(job));
    badge(part(".badge"), job);
    tell(part(".item-facts"), when(job.created_at));
    const text = { processing: doing(job), error: job.error_message };
    tell(part(".item-text"), text[job.status] ?? "");
    part("progress").hidden = job.status !== "processing";
    progressBar(part("progress"), job);
  }

  #mark(element, id) {
    const link = element.querySelector("a");
    if (id === this.#chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  #drop(id) {
    this.#jobs.get(id)?.element.remove();
    this.#jobs.delete(id);
  }

  #clear() {
    for (const id of [...this.#jobs.keys()]) this.#drop(id);
    this.#more = false;
  }

  #show() {
    $("older").hidden = !this.#more;
    $("empty").hidden = this.#jobs.size > 0;
    tell($("empty"), $("filter").value ? "None of these." : "No recordings yet. Upload one to begin.");
  }
}

// How a job's state is said.

const LABELS = { uploaded: "not started", processing: "in work", done: "done", error: "failed" };
const STAGES = {
  decode: "Reading the sound",
  diarize: "Telling the speakers apart",
  transcribe: "Transcribing",
  analyze: "Looking for what matters",
  store: "Storing the results",
};

export function label({ status, progress, error_message: reason }) {
  if (status === "processing" && !progress) return "waiting";
  if (status === "error" && /^cancel/i.test(reason ?? "")) return "cancelled";
  return LABELS[status] ?? status;
}

/** Say what is being done. */
export function doing({ progress }) {
  if (!progress) return "Waiting for a worker";
  const stage = STAGES[progress.stage] ?? progress.stage;
  return `${stage} · ${Math.round(100 * progress.fraction)} %`;
}

/** Show the state in a badge. */
export function badge(element, job) {
  element.className = `badge ${job.status}`;
  if (element.textContent !== label(job)) element.textContent = label(job);
}

/** Show how far a job has come; without a figure the bar says only that it waits. */
export function progressBar(element, { progress }) {
  if (progress) element.value = progress.fraction;
  else element.removeAttribute("value");
}

export const nameOf = (job) => job.filename || `Recording ${job.id}`;

// The server: questions, uploads, and the key.

const KEPT_AS = "voicepipe-key";

/** The server wants a key, or another one. */
export class NoKey extends Error {}

/** The server said no; `status` is its HTTP code, 0 where it did not answer. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let key = sessionStorage.getItem(KEPT_AS) ?? "";

export const hasKey = () => key !== "";

export function setKey(text) {
  key = text;
  sessionStorage.setItem(KEPT_AS, text);
}

const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** Ask, and give the answer where it is a good one. */
export async function ask(path, { signal, method = "GET", json, accept } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      cache: "no-store",
      headers: {
        ...headers(),
        ...(json !== undefined && { "Content-Type": "application/json" }),
        ...accept,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached. Is it running?", 0);
  }
  if (answer.status === 401) throw new NoKey("A key is needed.");
  if (!answer.ok) throw new Refused(reason(await answer.text(), answer.status), answer.status);
  return answer;
}

/** Ask for JSON. */
export async function api(path, options) {
  return (await ask(path, options)).json();
}

/** Give an address for a media element, which can send no header. */
export function mediaUrl(path) {
  return key ? `${path}?${new URLSearchParams({ token: key })}` : path;
}

/**
 * Upload a file; gives the job.
 * @param {File} file
 * @param {object} options `run`: whether to begin at once; `idempotencyKey`: the same
 *   for each try; `onProgress(fraction)`; `signal`
 */
export function upload(file, { run, idempotencyKey, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far it has come
    const form = new FormData();
    form.append("file", file);
    request.open("POST", `/api/jobs${run ? "?run=true" : ""}`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("Idempotency-Key", idempotencyKey);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onload = () => {
      if (request.status === 401) reject(new NoKey("A key is needed."));
      else if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(new Refused(reason(request.responseText, request.status), request.status));
    };
    request.onerror = () => {
      reject(new Refused("The upload broke off: the server is gone, or takes no file this large.", 0));
    };
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Make a key that names one upload; `randomUUID` is there in secure contexts only. */
export function newIdempotencyKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function reason(text, status) {
  try {
    const { error, detail } = JSON.parse(text);
    const said = error ?? detail;
    if (typeof said === "string" && said) return said[0].toUpperCase() + said.slice(1);
  } catch {
    // not JSON: a proxy's page, say
  }
  return `The server answered ${status}.`;
}

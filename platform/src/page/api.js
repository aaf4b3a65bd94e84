// What the platform answers: JSON under /v1, problems as errors, and its events. The key, where one is needed, stays in this tab.

const KEY = "portcullis-key";

export const key = () => sessionStorage.getItem(KEY) ?? "";

export const setKey = (text) => {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
};

// A refusal: `errors` are the fields that do not fit.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the platform says ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

const headers = (more) => (key() ? { "X-API-Key": key(), ...more } : more);

const ask = async (method, path, body, more = {}) => {
  const sent = headers({ accept: "application/json", ...more });
  if (body !== undefined) sent["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return { tag: answer.headers.get("etag"), body: answer.status === 204 ? null : await answer.json() };
};

export const get = async (path) => (await ask("GET", path)).body;
export const getTagged = (path) => ask("GET", path);
export const post = async (path, body) => (await ask("POST", path, body)).body;
export const put = async (path, body, tag) => (await ask("PUT", path, body, { "if-match": tag })).body;
export const remove = async (path, tag) => (await ask("DELETE", path, undefined, tag ? { "if-match": tag } : {})).body;

// A page of a list; `next` asks for the one after it.
export const page = (path, after, limit = 100) =>
  get(`${path}?limit=${limit}${after === undefined || after === null ? "" : `&after=${after}`}`);

const RETRY = [1000, 2000, 5000, 10000];

// Calls `take` with each overview, and `say` with how the connection is. Read with fetch, since an EventSource cannot send a key.
export const follow = async (take, say) => {
  for (let failures = 0; ; failures++) {
    try {
      const answer = await fetch("/v1/events", { headers: headers({ accept: "text/event-stream" }) });
      if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
      say("live", "good");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        failures = 0;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
          if (data) take(JSON.parse(data));
        }
      }
      say("reconnecting", "warn");
    } catch (error) {
      say(error.status === 401 ? "an API key is needed: see Keys" : `not connected: ${error.message}`, "bad");
    }
    await new Promise((wake) => setTimeout(wake, RETRY[Math.min(failures, RETRY.length - 1)]));
  }
};

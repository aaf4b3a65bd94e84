// Asks the platform every two seconds and shows what it says. Everything is set as text: no name is ever taken for markup.
"use strict";

const EVERY = 2000;

const element = (tag, text, kind) => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};

const number = (value) => Number(value).toLocaleString("en");

const span = (seconds) => {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const parts = [];
  for (const [name, size] of units) {
    const whole = Math.floor(seconds / size);
    seconds -= whole * size;
    if (whole > 0) parts.push(`${whole} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
};

const units = (hex) => BigInt(hex).toLocaleString("en");

const short = (hex) => (hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex);

const time = (ms) => (ms ? new Date(ms).toISOString().replace("T", " ").slice(0, 19) : "");

// Rows of cells; a cell is a text, or [text, class].
const table = (id, head, rows, none) => {
  const shown = document.getElementById(id);
  const body = document.createElement("tbody");
  for (const row of rows) {
    const line = document.createElement("tr");
    for (const cell of row) line.append(Array.isArray(cell) ? element("td", ...cell) : element("td", cell));
    body.append(line);
  }
  if (rows.length === 0) {
    const line = document.createElement("tr");
    const cell = element("td", none);
    cell.colSpan = head.length;
    line.append(cell);
    body.append(line);
  }
  const top = document.createElement("thead");
  const line = document.createElement("tr");
  for (const name of head) {
    const cell = element("th", name);
    cell.scope = "col";
    line.append(cell);
  }
  top.append(line);
  shown.replaceChildren(top, body);
};

const payment = (known) => {
  if (!known) return ["not looked at yet", "wide"];
  switch (known.status) {
    case "paid": return [`paid, ${span(known.runway)} of runway`, known.warn ? "wide warn" : "wide good"];
    case "grace": return [`unpaid, ${span(known.left)} of grace left; ${units(known.arrears)} base units are missing`, "wide warn"];
    case "unpaid": return [`unpaid; ${units(known.arrears)} base units are missing`, "wide bad"];
    default: return [`not known: ${known.reason}`, "wide warn"];
  }
};

const show = (now) => {
  const figures = document.getElementById("figures");
  figures.replaceChildren(...now.figures.map(({ name, value }) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", number(value)));
    return pair;
  }));
  table("services-table", ["protocol", "streamed", "payment", "invariants", "payment contract"],
    now.services.map((service) => [
      [service.name, "wide"],
      service.streamed ? ["yes", "good"] : ["no", "bad"],
      payment(service.payment),
      number(service.invariants),
      [short(service.payment_contract), "code"],
    ]), "No protocol pays for its protection here.");
  table("incidents-table", ["reported", "invariant", "transaction", "before → after", "seen to confirmed", "confirmed by"],
    now.incidents.map((incident) => [
      time(incident.reported_at_ms),
      [incident.invariant, "wide"],
      [short(incident.transaction), "code"],
      [incident.witness, "wide code"],
      `${(incident.seen_to_confirmed_us / 1000).toFixed(1)} ms`,
      number(incident.confirmations),
    ]), "Nothing was broken.");
  table("invariants-table", ["id", "name", "contract", "slot", "must be"],
    now.invariants.map((invariant) => [
      number(invariant.id),
      [invariant.name, "wide"],
      [short(invariant.contract), "code"],
      [short(invariant.slot), "code"],
      `${invariant.comparison} ${invariant.target}`,
    ]), "Nothing is watched.");
};

const ask = async () => {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("/v1/overview", { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status === 401 ? "an API key is needed to read" : `the platform says ${answer.status}`);
    show(await answer.json());
    state.textContent = "live";
    state.className = "good";
  } catch (error) {
    state.textContent = error.message;
    state.className = "bad";
  }
  setTimeout(ask, EVERY);
};

ask();

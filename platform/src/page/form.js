// The form of an invariant: what is typed is checked by the platform itself, and may be tried on what was seen before it is in force.

import { getTagged, page, post, put } from "./api.js";
import { failed, field, figures, h, number, section, table, tell, units } from "./dom.js";

// So long after the last key is it checked.
const PAUSE = 250;
const FIELDS = ["name", "expression", "network", "severity", "description", "contracts", "service"];

const text = (name, value = "", more = {}) => h("input", { type: "text", name, value, autocomplete: "off", spellcheck: "false", ...more });

const choice = (name, options, chosen) =>
  h("select", { name }, options.map(([value, label]) => h("option", { value, selected: value === chosen }, label)));

const written = (form) => {
  const body = {};
  for (const name of FIELDS) {
    const value = form.elements[name]?.value.trim();
    if (value) body[name] = value;
  }
  body.expression ??= "";
  if (body.contracts) {
    try {
      body.contracts = JSON.parse(body.contracts);
    } catch (error) {
      return { wrong: `is no JSON: ${error.message}` };
    }
  }
  return { body };
};

// Each flaw at its field; what belongs to none, below.
const mark = (errors) => {
  const rest = [];
  const told = new Map();
  for (const flaw of errors) {
    const name = flaw.pointer.split("/")[1] ?? "";
    const said = flaw.place ? flaw.place.shown : flaw.detail;
    if (FIELDS.includes(name)) told.set(name, [told.get(name), said].filter(Boolean).join("\n"));
    else rest.push(flaw.pointer ? `${flaw.pointer}: ${flaw.detail}` : flaw.detail);
  }
  for (const name of FIELDS) tell(name, told.get(name));
  return rest;
};

const verdict = (checked, rest) => {
  if (!checked.valid) return rest.map((line) => h("p", { class: "bad" }, line));
  return [
    checked.streamed
      ? h("p", { class: "good" }, "The network judges this.")
      : h("p", { class: "warn" }, checked.why_not),
    h("dl", { class: "facts" }, h("dt", {}, "reads"), h("dd", {}, checked.reads.join(", ") || "nothing"),
      h("dt", {}, "means"), h("dd", { class: "code" }, checked.program)),
  ];
};

const tried = (run) => [
  h("h3", {}, `On the newest ${number(run.transactions)} transactions`),
  figures([
    ["would have been incidents", number(run.violated)],
    ["untouched", number(run.untouched)],
    ["kept", number(run.kept)],
    ["restored", number(run.restored)],
    ["found broken", number(run.stayed_broken)],
    ["undecided", number(run.undecided)],
    ["blocks", run.first_block === null || run.first_block === undefined ? "–" : `${number(run.first_block)} – ${number(run.last_block)}`],
    ["took", `${number(run.took_ms)} ms`],
  ]),
  run.violations.length > 0
    ? table("Violations", ["transaction", "block", "margin before", "after", "read"], run.violations.map((one) => [
      [one.transaction, "code"],
      number(one.block),
      units(one.margin_before),
      units(one.margin_after),
      [one.readings.map((read) => `${read.what}: ${read.before ?? "–"} → ${read.after ?? "–"}`).join("; "), "wide code"],
    ]), "")
    : null,
  run.reasons.map((why) => h("p", { class: "warn" }, `${number(why.transactions)} undecided: ${why.reason}`)),
];

const make = async (title, known, save) => {
  const [services, contracts] = await Promise.all([page("/v1/services"), page("/v1/contracts", null, 500)]);
  const names = contracts.items.filter((one) => one.name).map((one) => one.name);
  const said = h("div", { id: "verdict", "aria-live": "polite" });
  const outcome = h("div", { id: "tried", "aria-live": "polite" });
  const force = h("button", { type: "submit", class: "main", disabled: true }, "Put in force");
  const trial = h("button", { type: "button", disabled: true }, "Try on what was seen");
  let number_ = 0;
  let waiting = 0;
  const check = async () => {
    const mine = ++number_;
    const { body, wrong } = written(form);
    if (wrong) {
      tell("contracts", wrong);
      force.disabled = trial.disabled = true;
      return;
    }
    try {
      const checked = await post("/v1/invariants/check", body);
      if (mine !== number_) return;
      said.replaceChildren(...verdict(checked, mark(checked.errors)));
      force.disabled = !checked.streamed;
      trial.disabled = !checked.valid;
    } catch (error) {
      if (mine === number_) said.replaceChildren(failed(error));
    }
  };
  const refused = (error) => {
    const rest = mark(error.errors ?? []);
    said.replaceChildren(failed(error), ...rest.map((line) => h("p", { class: "bad" }, line)));
  };
  const submit = async (event) => {
    event.preventDefault();
    const { body } = written(form);
    if (!body) return;
    try {
      const made = await save(body);
      location.hash = `#invariant/${made.id}`;
    } catch (error) {
      refused(error);
    }
  };
  trial.addEventListener("click", async () => {
    const { body } = written(form);
    outcome.replaceChildren(h("p", { class: "hint" }, "Trying"));
    try {
      outcome.replaceChildren(...tried(await post("/v1/invariants/dry-run", { ...body, transactions: 500 })).flat().filter(Boolean));
    } catch (error) {
      outcome.replaceChildren();
      refused(error);
    }
  });
  const severities = [["", "not said"], ...["info", "low", "medium", "high", "critical"].map((one) => [one, one])];
  const paying = [["", "none: always streamed"], ...services.items.map((one) => [one.name, one.name])];
  const form = h("form", { onsubmit: submit, oninput: () => { clearTimeout(waiting); waiting = setTimeout(check, PAUSE); } },
    field("name", "Name", text("name", known.name, { required: true, maxlength: 200 })),
    field("expression", "What must hold",
      h("textarea", { name: "expression", rows: 4, spellcheck: "false", required: true }, known.expression ?? ""),
      `Such as vault.totalAssets >= 1000, or slot(0x…, 0x2, uint128, 16) <= 5. ${names.length ? `Known contracts: ${names.join(", ")}.` : "Contracts with a name and a layout are registered under Contracts."}`),
    field("network", "Network", text("network", known.network ?? "ethereum")),
    field("severity", "Severity", choice("severity", severities, known.severity ?? "")),
    field("service", "Paid by", choice("service", paying, known.service ?? "")),
    field("description", "Description", h("textarea", { name: "description", rows: 2 }, known.description ?? "")),
    field("contracts", "More contracts (JSON)", h("textarea", { name: "contracts", rows: 2, spellcheck: "false" }),
      "Name to address, or to an object with address, layout and abi; for this invariant alone."),
    said, h("p", { class: "buttons" }, force, trial), outcome);
  if (known.expression) waiting = setTimeout(check, 0);
  return [section(title, form)];
};

export const create = () => make("New invariant", {}, (body) => post("/v1/invariants", body));

export const edit = async (id) => {
  const { body: known, tag } = await getTagged(`/v1/invariants/${Number(id)}`);
  const kept = (body) => ({ ...body, defense_action_ids: known.defense_action_ids });
  return make(`Change invariant ${known.id}`, known, (body) => put(`/v1/invariants/${known.id}`, kept(body), tag));
};

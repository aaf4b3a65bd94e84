// What must hold, what is in its slot now, and how far that is from breaking.

import { get, getTagged, page, remove } from "./api.js";
import { code, failed, figures, h, number, paged, section, table, units } from "./dom.js";

const margin = (value) => {
  if (!value?.value) return ["not known", "quiet"];
  return [units(value.margin), value.holds ? "good" : "bad"];
};

const row = (value) => (one) => [
  h("a", { href: `#invariant/${one.id}` }, String(one.id)),
  [one.name, "wide"],
  [one.expression, "wide code"],
  [units(value.get(one.id)?.value ?? "not known"), value.get(one.id)?.value ? "" : "quiet"],
  margin(value.get(one.id)),
  value.get(one.id)?.block ? number(value.get(one.id).block) : "",
  one.severity ?? "",
  code(one.contract),
];

export const list = async () => {
  const shown = await paged(async (after) => {
    const [invariants, values] = await Promise.all([page("/v1/invariants", after), page("/v1/values", after)]);
    const value = new Map(values.items.map((one) => [one.id, one]));
    const shown = table("Invariants", ["id", "name", "must hold", "value", "margin", "at block", "severity", "contract"],
      invariants.items.map(row(value)), "Nothing is watched.");
    return { shown, next: invariants.next };
  });
  return [
    section("Invariants",
      h("p", { class: "hint" }, "The value is what the newest transaction read that touched the slot; the margin is how far it is from breaking."),
      h("p", {}, h("a", { class: "button", href: "#new" }, "New invariant")), shown),
  ];
};

export const one = async (id) => {
  const [{ body: found, tag }, value] = await Promise.all([getTagged(`/v1/invariants/${Number(id)}`), get(`/v1/values/${Number(id)}`)]);
  const said = h("div", { "aria-live": "polite" });
  const away = async () => {
    try {
      await remove(`/v1/invariants/${found.id}`, tag);
      location.hash = "#invariants";
    } catch (error) {
      said.replaceChildren(failed(error));
    }
  };
  const sure = h("button", { type: "button", class: "danger", onclick: away }, "Really take it out of force");
  const ask = h("button", { type: "button", onclick: () => { ask.replaceWith(sure); sure.focus(); } }, "Take it out of force");
  return [
    section(`Invariant ${found.id}`,
      h("p", { class: "lead" }, found.name),
      h("pre", { class: "expression" }, found.expression),
      figures([
        ["value", units(value.value ?? "not known")],
        ["margin", units(value.margin ?? "not known")],
        ["holds", value.holds === null || value.holds === undefined ? "not known" : value.holds ? "yes" : "no"],
        ["at block", value.block ? number(value.block) : "–"],
        ["severity", found.severity ?? "–"],
        ["network", found.network],
        ["service", found.service ?? "none"],
      ]),
      found.description ? h("p", {}, found.description) : null,
      h("h3", {}, "What the network judges"),
      h("p", { class: "code" }, found.storage
        ? `${found.contract} slot ${found.storage} as ${found.slot_type} at byte ${found.offset} ${found.type} ${found.target}`
        : found.program),
      h("p", { class: "buttons" }, h("a", { class: "button", href: `#edit/${found.id}` }, "Change"), ask), said),
  ];
};

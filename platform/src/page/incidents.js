// What was broken, the evidence, and what was done about it.

import { get, page } from "./api.js";
import { code, figures, h, number, paged, section, table, time, units } from "./dom.js";

export const HEAD = ["id", "reported", "invariant", "before → after", "transaction", "seen to confirmed", "confirmed by", "state"];

// Of an expression each term that changed says more than that it held and does not.
const broken = (witness) => {
  const changed = witness.readings.filter((one) => one.before !== one.after);
  if (changed.length === 0) return `${units(witness.before)} → ${units(witness.after)}`;
  return changed.map((one) => `${one.what}: ${units(one.before)} → ${units(one.after)}`).join("; ");
};

const milliseconds = (us) => `${(us / 1000).toFixed(1)} ms`;

export const rows = (incidents) => incidents.map((one) => [
  h("a", { href: `#incident/${one.id}` }, String(one.id)),
  time(one.reported_at),
  [one.invariant, "wide"],
  [broken(one.witness), "wide code"],
  code(one.transaction),
  milliseconds(one.seen_to_confirmed_us),
  number(one.confirmations),
  one.state ?? "–",
]);

export const list = async () => {
  const shown = await paged(async (after) => {
    const found = await page("/v1/incidents", after, 50);
    return { shown: table("Incidents", HEAD, rows(found.items), "Nothing was broken."), next: found.next };
  });
  return [section("Incidents", shown)];
};

const moment = (one) => h("li", {}, time(one.at), " ", h("strong", {}, one.moment), one.action ? ` by ${one.action}` : "",
  one.detail ? h("span", { class: "detail" }, one.detail) : null);

const moves = (suspect) => suspect.deltas.length + suspect.more_deltas > 0;

const balances = (suspect) => h("div", { class: "balances" },
  h("h3", {}, "Balances that ", code(suspect.transaction), " changes"),
  table("Balances", ["holder", "change, smallest unit", "token"], suspect.deltas.map((delta) => [
    code(delta.holder),
    [units(delta.change), "code"],
    delta.token ? code(delta.token) : "ether (wei)",
  ]), "None is told."),
  suspect.more_deltas > 0 ? h("p", { class: "hint" }, `and ${number(suspect.more_deltas)} more balances`) : null);

const timeline = (one) => section(`Validator ${one.validator}`,
  figures([["state", one.state], ["severity", one.severity],
    ["miners that agreed", one.network ? `${number(one.network.agreed)} of ${number(one.network.asked)}` : "–"],
    ["decided by its own engine", one.network?.arbitrated ? "yes" : "no"],
    ["transactions of the attack", number(one.total_suspects)]]),
  h("ol", { class: "timeline" }, one.moments.map(moment)),
  table("Suspects", ["transaction", "sender", "calls", "wei", "before → after"], one.suspects.map((suspect) => [
    code(suspect.transaction),
    code(suspect.sender),
    suspect.target ? code(suspect.target) : "creates a contract",
    units(suspect.value),
    [`${units(suspect.before)} → ${units(suspect.after)}`, "wide code"],
  ]), "None is told."),
  one.suspects.filter(moves).map(balances));

export const one = async (id) => {
  const found = await get(`/v1/incidents/${Number(id)}`);
  // As a list of one: an invariant that is out of force is nothing wrong.
  const [invariant] = (await page("/v1/invariants", found.invariant_id - 1, 1)).items.filter((one) => one.id === found.invariant_id);
  return [
    section(`Incident ${found.id}`,
      h("p", { class: "lead" }, found.invariant),
      invariant ? h("pre", { class: "expression" }, invariant.expression) : h("p", { class: "hint" }, "This invariant is out of force now."),
      figures([
        ["reported", time(found.reported_at)],
        ["seen to confirmed", milliseconds(found.seen_to_confirmed_us)],
        ["confirmed by", number(found.confirmations)],
        ["included in a block", found.included_at ? time(found.included_at) : "no"],
      ])),
    section("Witness",
      h("dl", { class: "facts", id: "witness" },
        ...(found.witness.readings.length > 0
          ? found.witness.readings.map((one) => [h("dt", {}, one.what), h("dd", { class: "code" }, `${units(one.before)} → ${units(one.after)}`)]).flat()
          : [h("dt", {}, "value before"), h("dd", { class: "code" }, units(found.witness.before)),
            h("dt", {}, "value after"), h("dd", { class: "code" }, units(found.witness.after))]),
        h("dt", {}, "digest"), h("dd", { class: "code" }, found.witness.digest),
        h("dt", {}, "transaction"), h("dd", { class: "code" }, found.transaction),
        h("dt", {}, "sender"), h("dd", { class: "code" }, found.sender),
        h("dt", {}, "contract"), h("dd", { class: "code" }, found.contract),
        h("dt", {}, "invariant"), h("dd", {}, h("a", { href: `#invariant/${found.invariant_id}` }, String(found.invariant_id))))),
    ...(found.timelines.length > 0 ? found.timelines.map(timeline)
      : [section("Timeline", h("p", { class: "hint" }, "No validator has told yet what it did."))]),
  ];
};

// What is broken now; sums, rates and latencies as they change; services with their runway; the newest incidents.

import { get, page } from "./api.js";
import { curve } from "./chart.js";
import { code, figures, h, number, section, span, table, units } from "./dom.js";
import { rows, HEAD } from "./incidents.js";

// Points of the curves on this view.
const KEPT = 120;
const rates = [];
const latencies = [];

const base = (hex) => units(BigInt(hex).toString());

const payment = (known) => {
  if (!known) return ["not looked at yet", "wide"];
  switch (known.status) {
    case "paid": return [`paid, ${span(known.runway)} of runway`, known.warn ? "wide warn" : "wide good"];
    case "grace": return [`unpaid, ${span(known.left)} of grace left; ${base(known.arrears)} base units are missing`, "wide warn"];
    case "unpaid": return [`unpaid; ${base(known.arrears)} base units are missing`, "wide bad"];
    default: return [`not known: ${known.reason}`, "wide warn"];
  }
};

const keep = (points, value) => {
  if (value === null || value === undefined) return;
  points.push({ at: "", value });
  if (points.length > KEPT) points.shift();
};

const milliseconds = (value) => (value === null || value === undefined ? "–" : `${number(value)} ms`);

const content = (now) => [
  figures([
    ["transactions per second", now.transactions_per_second ?? "–"],
    ["pending", number(now.pending)],
    ["incidents", number(now.incidents)],
    ["seen to judged, p50", milliseconds(now.p50_ms)],
    ["p95", milliseconds(now.p95_ms)],
    ["p99", milliseconds(now.p99_ms)],
    ["transactions", number(now.transactions)],
    ["judged", number(now.judged)],
    ["holds", number(now.holds)],
    ["undecided", number(now.undecided)],
    ["challenges", number(now.challenges)],
    ["answers", number(now.answers)],
    ["arbitrated", number(now.arbitrated)],
    ["invariant set version", number(now.invariant_set_version)],
  ]),
  h("div", { class: "curves" },
    h("figure", {}, curve("Transactions per second", rates, number), h("figcaption", {}, "transactions per second")),
    h("figure", {}, curve("p99 in milliseconds", latencies, number), h("figcaption", {}, "p99, milliseconds"))),
];

export const take = (now) => {
  keep(rates, now.transactions_per_second);
  keep(latencies, now.p99_ms);
  document.getElementById("now")?.replaceChildren(...content(now));
};

// So many invariants are looked at here; the list of all is a view of its own.
const LOOKED_AT = 500;

const standing = (invariants, values) => {
  const name = new Map(invariants.items.map((one) => [one.id, one.name]));
  const broken = values.items.filter((one) => one.holds === false);
  const unread = values.items.filter((one) => (one.holds ?? null) === null).length;
  const count = values.items.length;
  const all = `${values.next ? "the first " : ""}${number(count)} ${count === 1 ? "invariant" : "invariants"}`;
  const row = (one) => [
    h("a", { href: `#invariant/${one.id}` }, name.get(one.id) ?? String(one.id)),
    [units(one.value), "wide code"],
    [units(one.margin), "wide code bad"],
    one.block ? number(one.block) : "–",
  ];
  const lead = broken.length > 0 ? `${number(broken.length)} of ${all} broken now` : count > 0 ? "Nothing that was read is broken" : "Nothing is watched";
  return section("Invariants",
    h("p", { class: `lead ${broken.length > 0 ? "bad" : "good"}` }, lead),
    unread > 0 ? h("p", { class: "hint" }, `Of ${all}, ${number(unread)} not known: no transaction has read their slots, or they speak of more than slots.`) : null,
    broken.length > 0 ? table("Broken now", ["invariant", "value", "margin", "at block"], broken.map(row)) : null);
};

export const show = async () => {
  const [now, invariants, values, services, incidents] = await Promise.all([get("/v1/overview"), page("/v1/invariants", null, LOOKED_AT),
    page("/v1/values", null, LOOKED_AT), page("/v1/services"), page("/v1/incidents", null, 10)]);
  const service = (one) => [
    [one.name, "wide"],
    one.streamed ? ["yes", "good"] : ["no", "bad"],
    payment(one.payment),
    number(one.invariants),
    code(one.payment_contract),
  ];
  return [
    standing(invariants, values),
    section("Overview", h("div", { id: "now" }, content(now))),
    section("Services", h("p", { class: "hint" }, "A protocol's invariants are streamed only while its service is paid."),
      table("Services", ["protocol", "streamed", "payment", "invariants", "payment contract"], services.items.map(service),
        "No protocol pays for its protection here.")),
    section("Newest incidents", table("Newest incidents", HEAD, rows(incidents.items), "Nothing was broken.")),
  ];
};

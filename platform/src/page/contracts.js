// Contracts, and what expressions call them.

import { page, post } from "./api.js";
import { failed, field, h, paged, section, table, tell } from "./dom.js";

const FIELDS = ["address", "network", "name", "layout", "abi"];

const row = (one) => [
  String(one.id),
  [one.name ?? "", "wide"],
  [one.address, "code"],
  one.network,
  one.layout ? "yes" : "no",
  one.abi ? "yes" : "no",
  one.invariant_ids.length > 0 ? one.invariant_ids.join(", ") : "",
];

export const show = async () => {
  const list = () => paged(async (after) => {
    const found = await page("/v1/contracts", after);
    const shown = table("Contracts", ["id", "name", "address", "network", "layout", "ABI", "invariants"], found.items.map(row),
      "No contract is registered.");
    return { shown, next: found.next };
  });
  let shown = await list();
  const said = h("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const body = {};
    for (const name of FIELDS) {
      tell(name);
      const value = form.elements[name].value.trim();
      if (!value) continue;
      try {
        body[name] = name === "layout" || name === "abi" ? JSON.parse(value) : value;
      } catch (error) {
        tell(name, `is no JSON: ${error.message}`);
        return;
      }
    }
    try {
      await post("/v1/contracts", body);
      form.reset();
      said.replaceChildren(h("p", { class: "good" }, "It is registered."));
      const fresh = await list();
      shown.replaceWith(fresh);
      shown = fresh;
    } catch (error) {
      const rest = (error.errors ?? []).filter((flaw) => !tell(flaw.pointer.split("/")[1], flaw.detail));
      said.replaceChildren(failed(error), ...rest.map((flaw) => h("p", { class: "bad" }, flaw.detail)));
    }
  };
  const text = (name, more_ = {}) => h("input", { type: "text", name, autocomplete: "off", spellcheck: "false", ...more_ });
  const json = (name) => h("textarea", { name, rows: 3, spellcheck: "false" });
  const form = h("form", { onsubmit: submit },
    field("address", "Address", text("address", { required: true, placeholder: "0x" })),
    field("network", "Network", text("network", { value: "ethereum" })),
    field("name", "Name in expressions", text("name")),
    field("layout", "Storage layout (JSON)", json("layout"), "What solc writes as storageLayout."),
    field("abi", "ABI (JSON)", json("abi")),
    h("p", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Register")), said);
  return [section("Contracts", shown), section("Register a contract", form)];
};

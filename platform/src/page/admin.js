// The key that this tab uses; and for admins all keys and the audit log.

import { key, page, post, remove, setKey } from "./api.js";
import { failed, field, h, paged, section, table, time } from "./dom.js";

const own = () => {
  const input = h("input", { type: "password", name: "key", value: key(), autocomplete: "off", spellcheck: "false" });
  const use = (event) => {
    event.preventDefault();
    setKey(input.value.trim());
    location.reload();
  };
  return section("The key of this tab",
    h("p", { class: "hint" }, "It is kept until the tab is closed, and sent to this platform alone. Without one you see what anybody may see."),
    h("form", { onsubmit: use }, field("key", "API key", input), h("p", { class: "buttons" }, h("button", { type: "submit" }, "Use it"))));
};

const keys = (found) => {
  const said = h("div", { id: "made", "aria-live": "polite" });
  const revoke = (one) => async () => {
    try {
      await remove(`/v1/keys/${one.id}`);
      said.replaceChildren(h("p", { class: "good" }, `Key ${one.id} is refused from now on.`));
    } catch (error) {
      said.replaceChildren(failed(error));
    }
  };
  const make = async (event) => {
    event.preventDefault();
    try {
      const made = await post("/v1/keys", { name: form.elements.who.value, role: form.elements.role.value });
      said.replaceChildren(h("p", { class: "good" }, "It is not shown again: ", h("code", {}, made.key)));
    } catch (error) {
      said.replaceChildren(failed(error));
    }
  };
  const form = h("form", { onsubmit: make },
    field("who", "For whom", h("input", { type: "text", name: "who", required: true, autocomplete: "off", maxlength: 200 })),
    field("role", "Role", h("select", { name: "role" }, ["read", "write", "admin"].map((role) => h("option", { value: role }, role)))),
    h("p", { class: "buttons" }, h("button", { type: "submit" }, "Make a key")));
  return section("API keys",
    table("API keys", ["id", "for", "role", "begins with", "made", "revoked", ""], found.items.map((one) => [
      String(one.id), [one.name, "wide"], one.role, [one.prefix, "code"], time(one.created_at), time(one.revoked_at),
      one.revoked_at ? "" : h("button", { type: "button", class: "danger", onclick: revoke(one), "aria-label": `Revoke key ${one.id}` }, "Revoke"),
    ]), "There is none."), form, said);
};

const audit = async () => section("Audit log", await paged(async (after) => {
  const found = await page("/v1/audit", after, 50);
  const shown = table("Audit log", ["when", "who", "what", "where", "answer"], found.items.map((one) => [
    time(one.at), [one.actor, "wide"], one.method, [one.path, "wide code"], String(one.status),
  ]), "Nothing was changed.");
  return { shown, next: found.next };
}));

export const show = async () => {
  try {
    const [all, changes] = await Promise.all([page("/v1/keys"), audit()]);
    return [own(), keys(all), changes];
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    return [own(), section("Keys and audit log", h("p", { class: "hint" }, "These need a key with the role admin."))];
  }
};

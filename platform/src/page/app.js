// Which view is shown, and when it is shown anew. The place after # says which: #incidents, #incident/7.

import { follow } from "./api.js";
import { failed, h } from "./dom.js";
import * as overview from "./overview.js";
import * as invariants from "./invariants.js";
import * as form from "./form.js";
import * as contracts from "./contracts.js";
import * as incidents from "./incidents.js";
import * as subnet from "./subnet.js";
import * as admin from "./admin.js";

// `lists`: the view is shown anew when one of these changes. `take`: it wants each overview.
const VIEWS = {
  overview: { title: "Overview", show: overview.show, take: overview.take, lists: ["incidents", "invariants"] },
  invariants: { title: "Invariants", show: invariants.list, lists: ["invariants"] },
  invariant: { title: "Invariant", show: invariants.one, of: "invariants", lists: ["invariants"] },
  new: { title: "New invariant", show: form.create, of: "invariants", lists: [] },
  edit: { title: "Change an invariant", show: form.edit, of: "invariants", lists: [] },
  contracts: { title: "Contracts", show: contracts.show, lists: [] },
  incidents: { title: "Incidents", show: incidents.list, lists: ["incidents"] },
  incident: { title: "Incident", show: incidents.one, of: "incidents", lists: [] },
  miners: { title: "Miners", show: subnet.miners, lists: ["miners"] },
  validators: { title: "Validators", show: subnet.validators, lists: ["validators"] },
  audits: { title: "Audits", show: subnet.audits, lists: [] },
  admin: { title: "Keys", show: admin.show, lists: [] },
};

// A view is shown anew at most this often.
const CALM = 2000;

const main = document.getElementById("main");
const state = document.getElementById("state");
let shown = { name: "", again: 0, number: 0 };

const place = () => {
  const [name, argument] = decodeURIComponent(location.hash.slice(1)).split("/");
  return { name: name in VIEWS ? name : "overview", argument };
};

const show = async (moved) => {
  const { name, argument } = place();
  const view = VIEWS[name];
  const number = shown.number + 1;
  clearTimeout(shown.again);
  shown = { name, again: 0, number };
  if (moved) {
    document.title = name === "overview" ? "Portcullis" : `${view.title} – Portcullis`;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#${view.of ?? name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  try {
    const made = await view.show(argument);
    // Somebody went elsewhere meanwhile, or reads and types here.
    if (shown.number !== number) return;
    if (!moved && main.contains(document.activeElement) && document.activeElement !== main) return;
    main.replaceChildren(...made);
  } catch (error) {
    if (shown.number === number) main.replaceChildren(failed(error));
  }
  main.dataset.shown = location.hash.slice(1) || "overview";
};

const take = ({ overview: now, changed }) => {
  const view = VIEWS[shown.name];
  view?.take?.(now);
  if (view && !shown.again && view.lists.some((list) => changed.includes(list))) shown.again = setTimeout(() => show(false), CALM);
};

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  show(true);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
main.replaceChildren(h("p", { class: "hint" }, "Loading"));
show(true);
follow(take, (text, kind) => {
  state.textContent = text;
  state.className = kind;
});

// Elements. Every text becomes a text node: no name is ever taken for markup, and no attribute takes a handler or a style.

const ALLOWED = new Set(["class", "id", "href", "for", "type", "name", "value", "rows", "scope", "colspan", "role", "tabindex", "placeholder",
  "autocomplete", "spellcheck", "aria-label", "aria-labelledby", "aria-describedby", "aria-live", "aria-invalid", "aria-current", "inputmode",
  "datetime", "title", "maxlength", "required", "disabled", "selected", "open"]);

export const h = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (!ALLOWED.has(name)) throw new Error(`no attribute here: ${name}`);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
};

export const section = (title, ...children) => {
  const id = `title-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
};

// Rows of cells; a cell is a text, an element, or [content, class]. On a phone a row stands as a list, each cell behind its column's name.
export const table = (label, head, rows, none) => {
  const cell = (content, column) => {
    const made = Array.isArray(content) ? h("td", { class: content[1] }, content[0]) : h("td", {}, content);
    made.dataset.label = head[column];
    return made;
  };
  const body = rows.length > 0
    ? rows.map((row) => h("tr", {}, row.map(cell)))
    : [h("tr", {}, h("td", { colspan: head.length }, none))];
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, body)));
};

// A long number breaks between its groups and nowhere else.
const breakable = (text) => (text.length > 16 ? text.split(/(?<=,)/).flatMap((group) => [group, h("wbr")]) : [text]);

export const figures = (pairs) =>
  h("dl", { class: "figures" }, pairs.map(([name, value]) => {
    const long = typeof value === "string" && value.length > 16;
    return h("div", {}, h("dt", {}, name), h("dd", { class: long ? "long" : null }, long ? breakable(value) : value));
  }));

// A label with its input, and a place for what is wrong with it.
export const field = (name, label, input, hint) => {
  const id = `field-${name}`;
  input.id = id;
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, "aria-live": "polite" });
  input.setAttribute("aria-describedby", wrong.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), hint ? h("p", { class: "hint" }, hint) : null, input, wrong);
};

// Says what is wrong with a field, or that nothing is.
export const tell = (name, text) => {
  const input = document.getElementById(`field-${name}`);
  const wrong = document.getElementById(`field-${name}-wrong`);
  if (!input || !wrong) return false;
  wrong.textContent = text ?? "";
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  return true;
};

export const number = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en"));

// A decimal of any length, in groups.
export const units = (text) => {
  const shown = String(text ?? "–");
  return /^-?\d+$/.test(shown) ? BigInt(shown).toLocaleString("en") : shown;
};

export const percent = (share) => `${(share * 100).toFixed(1)} %`;

export const short = (text) => (text.length > 14 ? `${text.slice(0, 8)}…${text.slice(-4)}` : text);

export const code = (text) => h("code", { title: text }, short(text));

export const time = (rfc3339) =>
  rfc3339 ? h("time", { datetime: rfc3339 }, rfc3339.replace("T", " ").replace(/(\.\d+)?Z$/, "")) : "";

export const span = (seconds) => {
  const parts = [];
  for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(seconds / size);
    seconds -= whole * size;
    if (whole > 0) parts.push(`${whole} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
};

export const failed = (error) => h("p", { class: "bad", role: "alert" }, error.message);

// A list, page by page: `load(after)` gives `{ shown, next }`; a button asks for the page that begins after `next`.
export const paged = async (load) => {
  const all = h("div", {});
  const add = async (after) => {
    const { shown, next } = await load(after);
    all.append(shown);
    if (next === undefined || next === null) return;
    const more = h("button", { type: "button" }, "Show more");
    more.addEventListener("click", async () => {
      more.disabled = true;
      try {
        await add(next);
        more.remove();
      } catch (error) {
        more.replaceWith(failed(error));
      }
    });
    all.append(more);
  };
  await add();
  return all;
};

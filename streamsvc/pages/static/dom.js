// Building blocks of pages: buttons, forms, lists, dialogs.
import { $, h, notify } from "./elements.js";
import { t } from "./i18n.js";

export { $, h, notify } from "./elements.js";
export const main = $("main");

export function render(nodes) {
  main.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
  main.querySelector("[data-mount]")?.dispatchEvent(new Event("mount")); // for what needs to be in the document first
}
// The next step of a flow, without a new URL.
export function showStep(heading, ...children) {
  main.replaceChildren(h("h1", { tabindex: -1 }, heading), ...children.flat(Infinity).filter(Boolean));
  main.firstChild.focus();
}
export const heading = (text, attributes) => h("h1", attributes, text);
export const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);
export const actions = (...children) => h("p", { class: "actions" }, ...children);
export const muted = (...children) => h("p", { class: "muted" }, ...children);
export const link = (href, text, kind = "button") => h("a", { class: kind, href }, text);

export function button(text, action, attributes = {}) {
  const element = h("button", { type: "button", ...attributes, onclick: () => runDisabled(element, action) }, text);
  return element;
}
// Disables the control while the action runs, and says what went wrong.
async function runDisabled(control, action) {
  control.disabled = true;
  control.setAttribute("aria-busy", "true");
  try {
    await action();
  } catch (error) {
    notify(error.message);
  } finally {
    control.disabled = false;
    control.removeAttribute("aria-busy");
  }
}

export const checkbox = (label, name, checked = false) =>
  h("label", { class: "choice" }, h("input", { type: "checkbox", name, checked }), label);
export const input = (label, name, attributes = {}) =>
  h("label", {}, label, h("input", { name, required: true, ...attributes }));
export const select = (label, name, options, chosen, attributes = {}) =>
  h(
    "label",
    {},
    label,
    h(
      "select",
      { name, ...attributes },
      options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
    ),
  );

export function form(label, submit, ...fields) {
  const alert = h("p", { class: "error", role: "alert" });
  const submitButton = h("button", { class: "primary" }, label);
  return h(
    "form",
    {
      class: "stacked",
      onsubmit: async (event) => {
        event.preventDefault();
        submitButton.disabled = true;
        submitButton.setAttribute("aria-busy", "true");
        alert.textContent = "";
        try {
          await submit(Object.fromEntries(new FormData(event.target)), event.target);
        } catch (error) {
          alert.textContent = error.message;
        }
        submitButton.disabled = false;
        submitButton.removeAttribute("aria-busy");
      },
    },
    fields,
    alert,
    h("p", { class: "actions" }, submitButton),
  );
}
export const itemList = (items, renderItem, emptyText) =>
  items.length
    ? h(
        "ul",
        { class: "list" },
        items.map((item) => h("li", {}, renderItem(item))),
      )
    : h("p", { class: "muted" }, emptyText);
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );

let dialogs = 0;
// Shows a dialog until it is closed. `fill(close)` returns its content; `close(value)` closes it. Closed by Escape: undefined.
export function openDialog(title, fill) {
  return new Promise((resolve) => {
    let result;
    const id = `dialog-${++dialogs}`;
    const dialog = h(
      "dialog",
      {
        "aria-labelledby": id,
        onclose: () => {
          dialog.remove();
          resolve(result);
        },
      },
      h("h2", { id }, title),
    );
    const close = (value) => {
      result = value;
      dialog.close();
    };
    dialog.append(...[fill(close)].flat(Infinity).filter(Boolean));
    document.body.append(dialog);
    dialog.showModal();
  });
}
// A question before something that is hard to undo. Returns whether it was confirmed.
export const ask = async (title, text, confirmLabel, cancelLabel = t("Back")) =>
  (await openDialog(title, (close) => [
    [text].flat().map((line) => h("p", {}, line)),
    h(
      "p",
      { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: () => close(true) }, confirmLabel),
      h("button", { type: "button", onclick: () => close(false) }, cancelLabel),
    ),
  ])) === true;
// A form in a dialog. Returns what was sent, or undefined; `submit` may throw, and the dialog stays open.
export const askForm = (title, label, submit, ...fields) =>
  openDialog(title, (close) => {
    const element = form(
      label,
      async (values) => {
        const result = await submit(values);
        close(result ?? values);
      },
      fields,
    );
    element.lastChild.append(h("button", { type: "button", onclick: () => close() }, t("Cancel")));
    return element;
  });

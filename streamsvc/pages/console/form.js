// Forms: labelled controls, and a form that shows what the API refuses next to its button.
import { h } from "./dom.js";

let count = 0;
function labelled(label, control, hint) {
  control.id = `field-${++count}`;
  const note = hint && h("small", { id: `${control.id}-hint`, class: "muted" }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}
export const input = (label, name, { hint, ...attributes } = {}) =>
  labelled(label, h("input", { name, required: true, ...attributes }), hint);
export const optional = (label, name, attributes = {}) => input(label, name, { required: false, ...attributes });
export const area = (label, name, { hint, value = "", ...attributes } = {}) =>
  labelled(label, h("textarea", { name, rows: 4, ...attributes }, value), hint);
export const select = (label, name, options, { hint, value, ...attributes } = {}) =>
  labelled(
    label,
    h(
      "select",
      { name, ...attributes },
      options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
    ),
    hint,
  );
export const check = (label, name, attributes = {}) =>
  h("label", { class: "check" }, h("input", { type: "checkbox", name, ...attributes }), label);

export function form(label, submit, fields, { tone = { class: "primary" }, extra, inline = false } = {}) {
  const alert = h("p", { class: "error", role: "alert" });
  const control = h("button", tone, label);
  return h(
    "form",
    {
      class: inline ? "inline" : "stack",
      onsubmit: async (event) => {
        event.preventDefault();
        const element = event.target; // before the first await: the event forgets it
        control.disabled = true;
        control.setAttribute("aria-busy", "true");
        alert.textContent = "";
        try {
          await submit(valuesOf(element), element);
        } catch (error) {
          alert.textContent = error.message;
        }
        control.disabled = false;
        control.removeAttribute("aria-busy");
      },
    },
    fields,
    alert,
    h("p", { class: "actions" }, control, extra),
  );
}
export function valuesOf(element) {
  const values = {};
  for (const { name, type, value, checked } of element.elements)
    if (name) values[name] = type === "checkbox" ? checked : value.trim();
  return values;
}

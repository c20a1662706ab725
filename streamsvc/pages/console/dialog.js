// Dialogs: a change is described, previewed where the API can, confirmed, and its outcome told before the dialog closes.
import { button, h } from "./dom.js";
import { form, input } from "./form.js";

let count = 0;
function open(title, ...children) {
  const id = `dialog-${++count}`; // a dialog that asks for a code opens above another one
  const dialog = h(
    "dialog",
    { "aria-labelledby": id, onclose: () => dialog.remove() },
    h("h2", { id }, title),
    children,
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// `fields`: controls. `explain`: what it will do. `preview(values)`: nodes with what exactly. `run(values)`: does it, and
// returns a sentence with what it did. `done()` runs once the dialog is closed after that.
export function change({ title, verb, explain, fields = [], preview, run, done = () => {}, danger = false }) {
  const body = h("div", { class: "stack" });
  const dialog = open(title, body);
  const cancel = () => button("Cancel", () => dialog.close());
  const tone = { class: danger ? "danger" : "primary" };
  const apply = async (values) => {
    const outcome = await run(values);
    dialog.addEventListener("close", () => done());
    const close = button("Close", () => dialog.close(), { class: "primary" });
    body.replaceChildren(h("div", { role: "status", class: "outcome" }, outcome), h("p", { class: "actions" }, close));
    close.focus();
  };
  const ask = () => {
    const first = form(preview ? "Preview" : verb, preview ? show : apply, fields, {
      tone: preview ? { class: "primary" } : tone,
      extra: cancel(),
    });
    body.replaceChildren(explain ? h("div", { class: "muted" }, explain) : "", first);
    (first.querySelector("input, select, textarea") ?? first.querySelector("button")).focus();
  };
  const show = async (values) => {
    const shown = await preview(values);
    const confirm = form(verb, () => apply(values), [], { tone, extra: button("Back", ask) });
    body.replaceChildren(h("div", { role: "status", class: "stack" }, shown), confirm);
    confirm.querySelector("button").focus();
  };
  ask();
}

// Ask for a code of the authenticator app; resolves when `verify(code)` has accepted one.
export function askCode(verify) {
  return new Promise((resolve, reject) => {
    let isVerified = false;
    const dialog = open(
      "Confirm that it is you",
      h("p", { class: "muted" }, "This needs a code from your authenticator app, valid for ten minutes."),
      form(
        "Continue",
        async ({ totp }) => {
          await verify(totp);
          isVerified = true;
          dialog.close();
        },
        [input("Code from your authenticator app", "totp", CODE)],
        { extra: button("Cancel", () => dialog.close()) },
      ),
    );
    dialog.addEventListener("close", () => (isVerified ? resolve() : reject(new Error("Canceled: it needs a code."))));
    dialog.querySelector("input").focus();
  });
}
export const CODE = {
  inputmode: "numeric",
  autocomplete: "one-time-code",
  pattern: "[0-9]{6}",
  maxlength: 6,
  title: "Six digits",
};

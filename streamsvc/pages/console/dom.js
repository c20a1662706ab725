// Building blocks of the console: buttons, panels, badges, and formats.
import { fill, h, notify } from "./elements.js";

export { $, h, notify } from "./elements.js";
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// A button that is disabled while its action runs; what goes wrong is announced.
export function button(label, action, attributes = {}) {
  const element = h(
    "button",
    {
      type: "button",
      ...attributes,
      onclick: async () => {
        element.disabled = true;
        try {
          await action();
        } catch (error) {
          notify(error.message);
        } finally {
          element.disabled = false;
        }
      },
    },
    label,
  );
  return element;
}
export const copyButton = (text) =>
  button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    notify("Copied.");
  });
export const link = (href, label, attributes = {}) => h("a", { href, ...attributes }, label);
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value != null && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
export const panel = (heading, ...children) =>
  h("section", { class: "panel" }, heading && h("h2", {}, heading), children);
export const badge = (text, tone = "") => h("span", { class: `badge ${tone}` }, text);

const TONES = {
  good: "active paid succeeded delivered trialing done ok",
  bad: "failed past_due disabled disputed uncollectible deleted",
  warn: "open pending unknown requires_action paused incomplete draft running queued",
};
export const status = (text) =>
  badge(
    words(text),
    Object.keys(TONES).find((tone) => TONES[tone].split(" ").includes(text)),
  );

// "authn_login_success" is "login success": the audit log's prefixes are those of a vocabulary for machines.
export const words = (name) => name.replace(/^auth[nz]_/, "").replaceAll(/[_.]/g, " ");
export const sentence = (name) => words(name).replace(/^./, (first) => first.toUpperCase());
export const number = (value) => new Intl.NumberFormat().format(value);
// "1 job", "2 jobs"; with a verb: `counted(n, "job is", "jobs are")`.
export const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export function money(minor, currency) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}
export const digitsOf = (currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
export const minorOf = (amount, currency) => Math.round(Number(amount) * 10 ** digitsOf(currency));
export const dateTime = (moment) =>
  moment && new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
export const day = (date) =>
  date &&
  new Date(`${date.slice(0, 10)}T00:00:00Z`).toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });
export const time = (moment) => moment && h("time", { datetime: moment }, dateTime(moment));
export const minutes = (seconds) =>
  (seconds >= 3600 ? `${Math.floor(seconds / 3600)} h ` : "") + `${Math.round((seconds % 3600) / 60)} min`;
export const priceText = ({ amount_minor, currency, interval, interval_count = 1 }) =>
  `${money(amount_minor, currency)} ${interval_count > 1 ? `every ${interval_count} ${interval}s` : `a ${interval}`}`;

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

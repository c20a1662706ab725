// Languages: texts in the language of the page, with its rules for plurals, dates and money.
// English is written in the pages themselves; i18n/<language>.js has the others, by the English text.
export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", ja: "日本語" };

function chooseLanguage() {
  const wanted = [localStorage.language, ...navigator.languages].filter(Boolean).map((tag) => tag.split("-")[0]);
  return wanted.find((code) => code in LANGUAGES) ?? "en";
}
export const language = chooseLanguage();
export const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
document.documentElement.lang = language;

const messages = language === "en" ? {} : (await import(`./i18n/${language}.js`)).default;
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (placeholder, name) => values?.[name] ?? placeholder);

// The text in the language of the page. `{name}` in it is replaced by the value of that name.
export const t = (text, values) => fill(messages[text] ?? text, values);
const plurals = new Intl.PluralRules(locale),
  numbers = new Intl.NumberFormat(locale);
// The form of a text that fits the number `n`: English has two, others one to six, which Intl.PluralRules names. `=1` is
// for exactly one, where a language that does not tell it apart says it in other words.
export function tn(one, other, n, values) {
  const forms = messages[other] ?? { one, other };
  return fill(forms[`=${n}`] ?? forms[plurals.select(n)] ?? forms.other, { n: numbers.format(n), ...values });
}

export const formatMoney = (price, minor = price.amount_minor) => {
  const format = new Intl.NumberFormat(locale, { style: "currency", currency: price.currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
};
export const formatTime = (moment) =>
  new Date(moment).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
export const formatClock = (moment) =>
  new Date(moment).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
// A civil date such as 2026-03-01, which is the same day everywhere.
export const formatDate = (day) =>
  new Date(`${day.slice(0, 10)}T00:00:00Z`).toLocaleDateString(locale, { dateStyle: "medium", timeZone: "UTC" });
export const formatPosition = (s) =>
  [...(s >= 3600 ? [s / 3600] : []), (s / 60) % 60, s % 60]
    .map((n, i) => String(Math.floor(n)).padStart(i ? 2 : 1, "0"))
    .join(":");
const unit = (value, name) =>
  new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "short" }).format(value);
export const formatRuntime = (s) =>
  s < 60
    ? unit(s, "second")
    : [
        ...(s >= 3600 ? [unit(Math.floor(s / 3600), "hour")] : []),
        ...(Math.round((s % 3600) / 60) ? [unit(Math.round((s % 3600) / 60), "minute")] : []),
      ].join(" ");
export const formatList = (items) => new Intl.ListFormat(locale, { type: "conjunction" }).format(items);
const names = (type) => {
  const display = new Intl.DisplayNames(locale, { type, fallback: "code" });
  return (code) => {
    try {
      return display.of(code);
    } catch {
      return code;
    }
  };
};
export const countryName = names("region"),
  languageName = names("language");
export const capitalize = (text) => text.replace(/^./u, (letter) => letter.toLocaleUpperCase(locale));

// "HD" and the like for a picture height in lines.
export const qualityName = (height) =>
  ({ 480: "SD", 720: "HD", 1080: "Full HD", 1440: "2K", 2160: "4K", 4320: "8K" })[height] ??
  (height < 480 ? "SD" : `${height}p`);
// "€10.99 per month", "every 3 months", in the words of the language.
export function formatPrice(price) {
  const n = price.interval_count ?? 1,
    values = { price: formatMoney(price) };
  return {
    day: () => tn("{price} per day", "{price} every {n} days", n, values),
    week: () => tn("{price} per week", "{price} every {n} weeks", n, values),
    month: () => tn("{price} per month", "{price} every {n} months", n, values),
    year: () => tn("{price} per year", "{price} every {n} years", n, values),
  }[price.interval]();
}

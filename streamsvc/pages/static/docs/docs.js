// Search in the documentation's headings and texts. The pages need no script; without it, the search box is absent.

const MOST_HITS = 12;
const form = document.querySelector("#search");
const [input, count, list] = [form.q, form.querySelector("#count"), form.querySelector("#found")];
const root = form.dataset.root;
let entries;

form.hidden = false;
form.onsubmit = (event) => {
  event.preventDefault();
  list.querySelector("a")?.click();
};
input.oninput = showHits;
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    input.focus();
  }
  if (event.key === "Escape") close();
  if (form.contains(event.target) && /^Arrow(Up|Down)$/.test(event.key)) moveFocus(event);
});
document.addEventListener("click", (event) => form.contains(event.target) || close());

function close() {
  if (list.contains(document.activeElement)) input.focus();
  list.hidden = true;
}

function moveFocus(event) {
  const stops = [input, ...list.querySelectorAll("a")];
  const next = stops.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
  event.preventDefault();
  stops[Math.max(0, Math.min(next, stops.length - 1))].focus();
}

async function showHits() {
  entries ??= (await fetch(`${root}search.json`)).json();
  const all = await entries;
  const words = fold(input.value).match(/[\p{L}\p{N}_-]+/gu) ?? [];
  const hits = words.length ? findHits(all, words) : [];
  const nothing = Object.assign(document.createElement("li"), { textContent: "Nothing found." });
  list.replaceChildren(...(hits.length ? hits.slice(0, MOST_HITS).map(hitRow) : [nothing]));
  list.hidden = !words.length;
  count.textContent = words.length ? `${hits.length} sections found` : "";
}

function findHits(all, words) {
  const ranked = [];
  for (const entry of all) {
    const [title, page, text] = [entry.title, entry.page, entry.text].map(fold);
    const ranks = words.map((word) =>
      title.includes(word) ? 3 : page.includes(word) ? 2 : text.includes(word) ? 1 : 0,
    );
    if (Math.min(...ranks)) ranked.push([ranks.reduce((sum, rank) => sum + rank), entry]);
  }
  return ranked.sort(([a], [b]) => b - a).map(([, entry]) => entry);
}

function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

function hitRow({ page, url, title }) {
  const link = Object.assign(document.createElement("a"), { href: root + url, textContent: title });
  link.onclick = () => (list.hidden = true);
  if (title !== page) link.append(Object.assign(document.createElement("small"), { textContent: page }));
  const row = document.createElement("li");
  row.append(link);
  return row;
}

// Plots as SVG, coloured by the style sheet, each with its numbers in a table for those who cannot see it.
import { h, svg } from "./dom.js";

const WIDTH = 640,
  HEIGHT = 160,
  LEFT = 4,
  BOTTOM = 18;

// points: [{ label, value }]. format: of a value. Bars go up from zero, and down for losses.
export function bars(title, points, format = String) {
  const highest = Math.max(1, ...points.map(({ value }) => value)),
    lowest = Math.min(0, ...points.map(({ value }) => value));
  const y = (value) => (HEIGHT - BOTTOM) * (1 - (value - lowest) / (highest - lowest));
  const step = (WIDTH - LEFT) / Math.max(1, points.length),
    width = Math.max(1, Math.min(36, step * 0.8));
  const shown = Math.ceil(points.length / 8);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: a plot; its numbers follow in a table` },
    svg("line", { x1: 0, x2: WIDTH, y1: y(0), y2: y(0), class: "axis" }),
    points.map(({ label, value }, index) => {
      const x = LEFT + index * step + (step - width) / 2;
      return [
        svg(
          "rect",
          {
            x,
            y: Math.min(y(value), y(0)),
            width,
            height: Math.max(value ? 1.5 : 0, Math.abs(y(value) - y(0))),
            class: value < 0 ? "loss" : "gain",
          },
          svg("title", {}, `${label}: ${format(value)}`),
        ),
        index % shown === 0 &&
          svg(
            "text",
            { x: x + width / 2, y: HEIGHT - 4, class: "tick" },
            /^\d{4}-/.test(label) ? label.slice(-5) : label,
          ),
      ];
    }),
  );
  const rows = points.map(({ label, value }) =>
    h("tr", {}, h("th", { scope: "row" }, label), h("td", { class: "numeric" }, format(value))),
  );
  return h(
    "figure",
    { class: "plot" },
    h("figcaption", {}, title),
    drawing,
    h(
      "details",
      {},
      h("summary", {}, "Numbers"),
      h("table", {}, h("caption", { class: "visually-hidden" }, title), h("tbody", {}, rows)),
    ),
  );
}

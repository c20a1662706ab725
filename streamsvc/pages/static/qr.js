// QR codes, drawn as one path of an SVG.
import { generate } from "./vendor/lean-qr.nano.js";

const NAMESPACE = "http://www.w3.org/2000/svg",
  MARGIN = 4;

export function qrCode(text, label) {
  const code = generate(text),
    size = code.size + 2 * MARGIN;
  let path = "";
  for (let y = 0; y < code.size; y++)
    for (let x = 0; x < code.size; x++) if (code.get(x, y)) path += `M${x + MARGIN} ${y + MARGIN}h1v1h-1z`;
  const create = (tag, attributes) => {
    const element = document.createElementNS(NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const image = create("svg", {
    viewBox: `0 0 ${size} ${size}`,
    role: "img",
    "aria-label": label,
    class: "qr",
    "shape-rendering": "crispEdges",
  });
  image.append(
    create("path", { d: `M0 0h${size}v${size}H0z`, fill: "#fff" }),
    create("path", { d: path, fill: "#000" }),
  );
  return image;
}

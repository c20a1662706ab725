// A list whose items are put in order by drag and drop, or by the buttons of each item, for keyboards and touch screens.
import { h } from "./dom.js";

// name(item) is its text, `noun` what an item is. Returns the element, `items()` in their order, and `add(item)`.
export function orderedList(initial, name, noun) {
  let items = [...initial],
    dragged = null;
  const element = h("ol", { class: "rows" }),
    said = h("p", { class: "visually-hidden", role: "status" });
  function move(from, to, focus) {
    if (to < 0 || to >= items.length || from === to) return;
    const [item] = items.splice(from, 1);
    items.splice(to, 0, item);
    draw();
    said.textContent = `${name(item)} is now ${noun} ${to + 1} of ${items.length}.`;
    if (focus) element.children[to].querySelector(`[data-move="${focus}"]`)?.focus();
  }
  function draw() {
    element.replaceChildren(
      ...items.map((item, index) =>
        h(
          "li",
          {
            draggable: "true",
            ondragstart: (event) => {
              dragged = index;
              event.dataTransfer.effectAllowed = "move";
              event.dataTransfer.setData("text/plain", name(item));
            },
            ondragover: (event) => {
              event.preventDefault();
              event.currentTarget.classList.add("over");
            },
            ondragleave: (event) => event.currentTarget.classList.remove("over"),
            ondrop: (event) => {
              event.preventDefault();
              if (dragged !== null) move(dragged, index);
              dragged = null;
            },
          },
          h("span", {}, name(item)),
          h(
            "button",
            {
              type: "button",
              "data-move": "up",
              "aria-label": `Move ${name(item)} up`,
              onclick: () => move(index, index - 1, "up"),
            },
            "↑",
          ),
          h(
            "button",
            {
              type: "button",
              "data-move": "down",
              "aria-label": `Move ${name(item)} down`,
              onclick: () => move(index, index + 1, "down"),
            },
            "↓",
          ),
          h(
            "button",
            {
              type: "button",
              "aria-label": `Remove ${name(item)}`,
              onclick: () => {
                items = items.filter((other) => other !== item);
                draw();
                said.textContent = `${name(item)} is removed.`;
              },
            },
            "Remove",
          ),
        ),
      ),
    );
  }
  draw();
  return {
    element: h("div", {}, element, said),
    items: () => items,
    add: (item) => {
      items.push(item);
      draw();
      said.textContent = `${name(item)} is added.`;
    },
  };
}

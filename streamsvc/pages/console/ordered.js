// A list whose items are put in order by dragging them, with a mouse or a finger, or by the buttons of each item.
import { h } from "./dom.js";

// name(item) is its text, `noun` what an item is. Returns the element, `items()` in their order, and `add(item)`.
export function orderedList(initial, name, noun) {
  let items = [...initial];
  const element = h("ol", { class: "rows" }),
    said = h("p", { class: "visually-hidden", role: "status" });
  function move(from, to) {
    if (to < 0 || to >= items.length || from === to) return;
    const [item] = items.splice(from, 1);
    items.splice(to, 0, item);
    draw();
    said.textContent = `${name(item)} is now ${noun} ${to + 1} of ${items.length}.`;
  }
  function moveButton(index, by, direction, arrow) {
    const moveAndFocus = () => {
      move(index, index + by);
      element.children[index + by]?.querySelector(`[data-move="${direction}"]`).focus();
    };
    return h(
      "button",
      {
        type: "button",
        "data-move": direction,
        "aria-label": `Move ${name(items[index])} ${direction}`,
        onclick: moveAndFocus,
      },
      arrow,
    );
  }
  function draw() {
    element.replaceChildren(
      ...items.map((item, index) => {
        const remove = () => {
          items.splice(index, 1);
          draw();
          said.textContent = `${name(item)} is removed.`;
        };
        return h(
          "li",
          { onpointerdown: (event) => drag(event, index) },
          h("span", { class: "handle", "aria-hidden": "true" }, "⠿"),
          h("span", {}, name(item)),
          moveButton(index, -1, "up", "↑"),
          moveButton(index, 1, "down", "↓"),
          h("button", { type: "button", "aria-label": `Remove ${name(item)}`, onclick: remove }, "Remove"),
        );
      }),
    );
  }
  // A mouse may hold a row anywhere, a finger only by its handle: elsewhere it scrolls. Escape puts the row back.
  function drag(event, from) {
    const isHeld = event.pointerType === "mouse" ? event.button === 0 : event.target.closest(".handle");
    if (!isHeld || event.target.closest("button")) return;
    event.preventDefault(); // no text is selected
    const row = event.currentTarget,
      end = new AbortController(),
      on = (type, act) => addEventListener(type, act, { signal: end.signal });
    element.setPointerCapture(event.pointerId);
    row.classList.add("dragged");
    const stop = (to) => {
      end.abort();
      row.classList.remove("dragged");
      if (to === from) draw();
      else move(from, to);
    };
    on("pointermove", ({ clientY }) => {
      const others = [...element.children].filter((each) => each !== row);
      const next = others.find((each) => clientY < middle(each)) ?? null;
      if (next === row.nextElementSibling) return;
      element.insertBefore(row, next);
      row.scrollIntoView({ block: "nearest" });
    });
    on("pointerup", () => stop([...element.children].indexOf(row)));
    on("pointercancel", () => stop(from));
    on("keydown", ({ key }) => key === "Escape" && stop(from));
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

function middle(element) {
  const { top, height } = element.getBoundingClientRect();
  return top + height / 2;
}

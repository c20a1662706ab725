// Elements and announcements, for the console and the storefront. Text is always a text node, so that no name or title can become markup.
export const $ = (id) => document.getElementById(id);

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export function notify(text) {
  $("notice").textContent = text;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => ($("notice").textContent = ""), 6000);
}

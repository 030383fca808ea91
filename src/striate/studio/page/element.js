// DOM elements in one expression; text is always text, never markup.

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes]  "on…" is a listener, false and null are left out, "style" may be an object
 * @param {...any} inside                     elements, texts, or arrays of them; null and false are left out
 * @returns {any}
 */
export function element(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style" && typeof value === "object")
      for (const [k, v] of Object.entries(value)) made.style.setProperty(k, String(v));
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...inside.flat(3).filter((item) => item !== null && item !== undefined && item !== false));
  return made;
}

/**
 * @param {Element} parent
 * @param {...any} inside
 */
export function fill(parent, ...inside) {
  parent.replaceChildren(...inside.flat(3).filter((item) => item !== null && item !== undefined && item !== false));
}

// Builds pages from elements and text. No string is ever parsed as markup.

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Creates an element with attributes, listeners (`onclick`) and children.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {{[attribute: string]: string | number | boolean | null | undefined | ((event: any) =>
 *   void)}} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(attribute.slice(2), value);
    else element.setAttribute(attribute, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** @param {Node} element @param {Child[]} children */
function append(element, children) {
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) element.appendChild(toNode(child));
  }
}

/** @param {Node | string} child */
function toNode(child) {
  return typeof child === "string" ? document.createTextNode(child) : child;
}

/** Replaces the children of an element. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** The element with this id. The template must have it. @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name
 * @param {{[attribute: string]: string | number}} attributes
 * @param {...Element} children
 */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, String(value));
  element.append(...children);
  return element;
}

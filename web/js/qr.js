// Draws a QR code from the rows of modules that the provider computed.

import { svg } from "./dom.js";

/** White modules around the code (the quiet zone), which scanners need. */
const QUIET = 4;

/**
 * Largest number of modules on a side: version 40.
 */
const SIDE_MAX = 177;

/** Whether these are the rows of a QR code. @param {unknown} rows @returns {rows is string[]} */
export function isQr(rows) {
  return Array.isArray(rows) && rows.length > 0 && rows.length <= SIDE_MAX
    && rows.every((row) => typeof row === "string" && row.length === rows.length && /^[01]+$/.test(row));
}

/** The dark modules as one SVG path: each horizontal run is a rectangle. @param {string[]} rows */
export function qrPath(rows) {
  return rows
    .flatMap((row, y) => [...row.matchAll(/1+/g)].map(({ index, 0: run }) => {
      return `M${index + QUIET} ${y + QUIET}h${run.length}v1h-${run.length}z`;
    }))
    .join("");
}

/** @param {string[]} rows @param {string} label text alternative for screen readers */
export function qrCode(rows, label) {
  const side = rows.length + 2 * QUIET;
  return svg("svg", { viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": label, class: "qr", "shape-rendering": "crispEdges" },
    svg("rect", { width: side, height: side, fill: "#fff" }),
    svg("path", { d: qrPath(rows), fill: "#000" }));
}

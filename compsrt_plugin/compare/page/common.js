"use strict";

// Texts from files and names go into the page as text nodes and attributes only, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const names = data.entries.map((entry) => entry.name);
const METRICS = { psnr: { title: "PSNR", unit: "dB", digits: 2 }, ssim: { title: "SSIM", unit: "", digits: 4 } };
const metrics = Object.keys(METRICS).filter((metric) => metric in data.pictures[0].scores[0]);
const MISSING = "–";

/** Return an element with attributes and children; a child is a node or a text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return a score as a number; JSON has no infinity, so an exact image's PSNR is the text "inf". */
function numeric(value) {
  return value === "inf" ? Infinity : value;
}

function fixed(value, digits) {
  if (value === null || value === undefined) return MISSING;
  const found = numeric(value);
  return Number.isFinite(found) ? found.toFixed(digits).replace("-", "−") : found > 0 ? "∞" : "−∞";
}

function signed(value, digits) {
  const text = fixed(value, digits);
  return typeof value === "number" && value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${text}` : text;
}

/** Return a p value; small ones by their power of ten. */
function probability(p) {
  if (p === null || p === undefined) return MISSING;
  const power = (_, digits) => ` · 10⁻${superscript(digits)}`;
  return p >= 0.001 ? p.toPrecision(2) : p.toExponential(1).replace(/e-(\d+)/, power);
}

function superscript(digits) {
  return [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
}

function difference(value, baseline) {
  return numeric(value) === numeric(baseline) ? 0 : numeric(value) - numeric(baseline);
}

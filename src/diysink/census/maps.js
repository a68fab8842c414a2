"use strict";
// Arrays as packing.py wrote them, arithmetic on them, and drawing. page.js holds the controls.

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Gives {shape, values, row(i, j, ...)}; a row is the last axis.
async function unpack(packed) {
  const raw = await inflate(packed.data);
  const width = packed.shape.at(-1);
  let values;
  if (packed.code === "float") values = new Float32Array(raw);
  else if (packed.code === "mask") values = new Uint8Array(raw);
  else {
    const scale = new Float32Array(await inflate(packed.scale));
    const signed = packed.code === "signed";
    const codes = signed ? new Int8Array(raw) : new Uint8Array(raw);
    values = Float32Array.from(codes, (code, i) => {
      const share = signed ? code / 127 : (code / 255) ** 2;
      return scale[Math.floor(i / width)] * share;
    });
  }
  const row = (...index) => {
    const at = index.reduce((sum, one, axis) => sum * packed.shape[axis] + one, 0);
    return values.subarray(at * width, (at + 1) * width);
  };
  return { shape: packed.shape, values, row };
}

// An example is decoded when it is first looked at.
const decoded = new Map();
async function exampleOf(index) {
  if (!decoded.has(index)) {
    const raw = JSON.parse(document.getElementById(`example-${index}`).textContent);
    for (const name of ["norms", "received", "received_by_head", "sinks", "states", "relevance"]) {
      if (raw[name] !== null) raw[name] = await unpack(raw[name]);
    }
    decoded.set(index, raw);
  }
  return decoded.get(index);
}

function cosine(a, b) {
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa && bb ? ab / Math.sqrt(aa * bb) : 0;
}

function patchesThatSink(example, layer) {
  return [...example.sinks.row(layer)].flatMap((sink, patch) => (sink ? [patch] : []));
}

// Cosine of every patch to the mean of the sinks; null where there is no sink.
function toSinks(example, layer) {
  const sinks = patchesThatSink(example, layer);
  if (!sinks.length) return null;
  const mean = new Float32Array(example.states.shape[2]);
  for (const patch of sinks) example.states.row(layer, patch).forEach((x, i) => { mean[i] += x; });
  return Float32Array.from(example.sinks.row(layer), (_, patch) =>
    cosine(example.states.row(layer, patch), mean));
}

function nearest(example, layer, patch, count = 5) {
  const own = example.states.row(layer, patch);
  return [...example.sinks.row(layer).keys()]
    .filter((other) => other !== patch)
    .map((other) => ({ patch: other, cosine: cosine(own, example.states.row(layer, other)) }))
    .sort((a, b) => b.cosine - a.cosine)
    .slice(0, count);
}

const rankOf = (values, patch) => 1 + values.filter((x) => x > values[patch]).length;
const shown = (values) => [...values].filter((x) => Number.isFinite(x));

// From lowest to highest; a logarithmic one ends at what is ``depth`` times smaller than the top.
function rangeOf(values, log, depth = 1e4) {
  const known = shown(values);
  const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
  let low = known.reduce((a, b) => Math.min(a, b), Infinity);
  if (log) low = Math.max(low, high / depth);
  return { low, high, log: log && high > 0 };
}

function share(value, { low, high, log }) {
  if (high <= low) return 0.5;
  const x = log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.min(1, Math.max(0, x));
}

const middleOf = ({ low, high, log }) => (log ? Math.sqrt(low * high) : (low + high) / 2);

let colours = [];
function useColours(texts) {
  colours = texts.map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
}

function colourOf(x) {
  const at = x * (colours.length - 1), i = Math.min(Math.floor(at), colours.length - 2);
  return `rgb(${colours[i].map((c, k) => Math.round(c + (at - i) * (colours[i + 1][k] - c)))})`;
}

// A canvas as sharp as the screen; gives a function for the box of a cell.
function prepare(canvas, [rows, columns]) {
  const box = canvas.getBoundingClientRect();
  const dense = Math.max(2, window.devicePixelRatio || 1); // at least 2: a print is finer
  canvas.width = Math.max(1, Math.round(box.width * dense));
  canvas.height = Math.max(1, Math.round(box.height * dense));
  const at = (index) => {
    const row = Math.floor(index / columns), column = index % columns;
    const [x, y] = [column, row].map((n, axis) =>
      Math.round((n * (axis ? canvas.height : canvas.width)) / (axis ? rows : columns)));
    const right = Math.round(((column + 1) * canvas.width) / columns);
    const low = Math.round(((row + 1) * canvas.height) / rows);
    return [x, y, right - x, low - y];
  };
  return { context: canvas.getContext("2d"), at, dense };
}

function paint(context, at, values, range, strength) {
  context.globalAlpha = strength;
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) return;
    context.fillStyle = colourOf(share(value, range));
    context.fillRect(...at(index));
  });
  context.globalAlpha = 1;
}

// A light line on a dark one, seen on any colour; around the box if it is ``outside``.
function outline(context, [x, y, width, height], colour, thick, { dashes = [], outside = false } = {}) {
  const half = outside ? -thick / 2 - 0.5 : thick / 2 + 0.5;
  for (const [stroke, line, dash] of [["#000000", thick + 2, []], [colour, thick, dashes]]) {
    context.strokeStyle = stroke;
    context.lineWidth = line;
    context.setLineDash(dash);
    context.strokeRect(x + half, y + half, width - 2 * half, height - 2 * half);
  }
  context.setLineDash([]);
}

function letter(context, [x, y, width, height], text, size) {
  context.font = `700 ${Math.min(size, height * 0.7)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = size / 4;
  context.strokeStyle = "#000000";
  context.strokeText(text, x + width / 2, y + height / 2);
  context.fillStyle = "#ffffff";
  context.fillText(text, x + width / 2, y + height / 2);
}

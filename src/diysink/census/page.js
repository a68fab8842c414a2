// The controls of the page: what is chosen, the maps of it, and what they say in words.
(() => {
  const get = (id) => document.getElementById(id);
  if (!get("controls")) return; // no examples
  const facts = JSON.parse(get("card-facts").textContent);
  const chosen = { example: 0, layer: facts.start, quantity: "norm", head: 0, patch: 0, fixed: false };
  const NAMES = {
    norm: "Norm",
    received: "Attention received, over an even share",
    head: "Attention received, over an even share",
    cosine: "Cosine to the mean of the sinks",
  };
  let example = null;

  const text = (value) => {
    if (value == null || !Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    return Math.abs(value) >= 1000
      ? Math.round(value).toLocaleString("en-US")
      : String(Number(value.toPrecision(3)));
  };
  const place = (patch) => {
    const [rows, columns] = example.grid;
    return `row ${Math.floor(patch / columns) + 1} of ${rows}, column ${(patch % columns) + 1} of ${columns}`;
  };
  const brief = (patch) => place(patch).replace(/ of \d+/g, "");
  const element = (tag, content, extra = {}) =>
    Object.assign(document.createElement(tag), { textContent: content }, extra);

  function valuesAt(layer) {
    if (chosen.quantity === "norm") return example.norms.row(layer);
    if (chosen.quantity === "received") return example.received.row(layer);
    if (chosen.quantity === "head") return example.received_by_head.row(layer, chosen.head);
    return toSinks(example, layer);
  }

  function scale(values) {
    const log = chosen.quantity !== "cosine";
    if (!chosen.fixed) return rangeOf(values, log);
    if (!log) return { low: -1, high: 1, log };
    const layers = [...Array(example.norms.shape[0]).keys()];
    return rangeOf(layers.flatMap((layer) => shown(valuesAt(layer) ?? [])), log);
  }

  function drawMap(near) {
    const canvas = get("map"), values = valuesAt(chosen.layer);
    const { context, at, dense } = prepare(canvas, example.grid);
    const head = chosen.quantity === "head" ? `, head ${chosen.head}` : "";
    get("map-title").textContent = `${NAMES[chosen.quantity]}${head}, layer ${chosen.layer}`;
    const known = values !== null && shown(values).length > 0;
    get("bar").hidden = !known;
    get("empty").hidden = known;
    if (known) {
      const range = scale(values);
      paint(context, at, values, range, get("strength").value / 100);
      get("low").textContent = text(range.low);
      get("middle").textContent = text(middleOf(range));
      get("high").textContent = text(range.high);
    } else {
      get("empty").textContent = chosen.quantity === "cosine"
        ? "No sink in this image at this layer, so there is no mean of sinks."
        : "No block wrote this layer, so no attention is shown.";
    }
    for (const patch of patchesThatSink(example, chosen.layer)) {
      outline(context, at(patch), "#ff8c42", 2 * dense);
    }
    near.forEach((one, i) => {
      outline(context, at(one.patch), "#7fd4ff", 1.5 * dense, { dashes: [3 * dense, 3 * dense] });
      letter(context, at(one.patch), String(i + 1), 12 * dense);
    });
    outline(context, at(chosen.patch), "#ffffff", 2.5 * dense, { outside: true });
  }

  function drawRelevance() {
    get("drawn-from").hidden = example.relevance === null;
    if (example.relevance === null) return;
    const row = example.relevance.row(chosen.layer, chosen.patch);
    const total = row.reduce((a, b) => a + b, 0);
    const [rows, columns] = example.cells, [gridRows, gridColumns] = example.grid;
    const { context, at, dense } = prepare(get("relevance"), example.cells);
    get("draws").textContent = "Nothing is known of where this patch draws from.";
    for (const end of ["low", "middle", "high"]) get(`relevance-${end}`).textContent = "–";
    if (!total) return;
    const shares = row.map((x) => x / total);
    const range = rangeOf(shares, true, 1e3); // its own place would drown the others
    paint(context, at, shares, range, get("strength").value / 100);
    const y = Math.floor(((Math.floor(chosen.patch / gridColumns) + 0.5) / gridRows) * rows);
    const x = Math.floor((((chosen.patch % gridColumns) + 0.5) / gridColumns) * columns);
    const own = y * columns + x, percent = (part) => `${text(100 * part)}\u00a0%`;
    outline(context, at(own), "#ffffff", 2.5 * dense, { outside: true });
    const half = shares.slice().sort((a, b) => b - a);
    let count = 0;
    for (let sum = 0; sum < 0.5 && count < half.length; count++) sum += half[count];
    get("relevance-low").textContent = percent(range.low);
    get("relevance-middle").textContent = percent(middleOf(range));
    get("relevance-high").textContent = percent(range.high);
    get("draws").textContent =
      `Its own place (outlined) gives ${percent(shares[own])} of what it draws from the image. ` +
      `Half comes from ${count} of ${shares.length} cells. An even share is ${percent(1 / shares.length)}.`;
    get("relevance").setAttribute("aria-label", `Relevance map. ${get("draws").textContent}`);
  }

  // Whether the chosen patch is a sink, and why.
  function reasons() {
    const { layer, patch } = chosen, tau = facts.tau[layer];
    const norms = example.norms.row(layer), received = example.received.row(layer);
    const count = norms.length, norm = norms[patch];
    const sentences = [example.sinks.row(layer)[patch] ? "A sink." : "Not a sink."];
    if (tau == null) {
      sentences.push(`Its norm is ${text(norm)}. This layer has no tau, so norms do not tell sinks apart.`);
    } else if (norm >= tau) {
      sentences.push(`Its norm is ${text(norm)}, ${text(norm / tau)} times tau (${text(tau)}).`);
    } else {
      sentences.push(`Its norm is ${text(norm)}, below tau (${text(tau)}).`);
    }
    sentences.push(`It is top ${rankOf(norms, patch)} of ${count} by norm.`);
    if (Number.isFinite(received[patch])) {
      sentences.push(
        `It receives ${text(received[patch])} times an even share of attention, ` +
        `top ${rankOf(received, patch)} of ${count}.`);
    }
    return sentences.join(" ");
  }

  function writeFacts() {
    const { layer, patch } = chosen, median = shown(example.norms.row(layer)).sort((a, b) => a - b);
    const heads = [...Array(facts.heads).keys()].map((h) => example.received_by_head.row(layer, h)[patch]);
    const most = heads.indexOf(Math.max(...heads)), mean = toSinks(example, layer);
    const rows = [
      ["norm", text(example.norms.row(layer)[patch])],
      ["median norm of this image", text(median[Math.floor(median.length / 2)])],
      ["tau", text(facts.tau[layer])],
      ["attention received, over an even share", text(example.received.row(layer)[patch])],
      ["most by one head", most < 0 ? "–" : `${text(heads[most])} (head ${most})`],
      ["cosine to the sinks' mean", mean ? mean[patch].toFixed(2) : "–"],
    ];
    get("facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  }

  function jump(patch, words) {
    const button = element("button", words, { type: "button" });
    button.addEventListener("click", () => choose({ patch }));
    return button;
  }

  function writeLists(near) {
    get("near").replaceChildren(...near.map((one) => {
      const item = element("li", "");
      item.append(jump(one.patch, brief(one.patch)), ` cosine ${one.cosine.toFixed(2)}`);
      return item;
    }));
    const sinks = patchesThatSink(example, chosen.layer), norms = example.norms.row(chosen.layer);
    sinks.sort((a, b) => norms[b] - norms[a]);
    get("sinks").replaceChildren(...sinks.slice(0, 12).map((patch) => jump(patch, brief(patch))));
    if (!sinks.length) get("sinks").textContent = "None.";
    if (sinks.length > 12) get("sinks").append(` and ${sinks.length - 12} more`);
  }

  function draw() {
    if (!example) return;
    const near = nearest(example, chosen.layer, chosen.patch);
    drawMap(near);
    drawRelevance();
    const where = place(chosen.patch);
    get("where").textContent = `Patch at ${where}`;
    get("why").textContent = reasons();
    get("map").setAttribute("aria-label", `Map of patches. Chosen: ${where}`);
    writeFacts();
    writeLists(near);
    get("layer").value = chosen.layer;
    get("layer-name").textContent = chosen.layer;
    get("head-label").hidden = chosen.quantity !== "head";
    for (const band of document.querySelectorAll("#drawings g[id*='-layer-']")) {
      band.classList.toggle("now", band.id.endsWith(`-layer-${chosen.layer}`));
    }
    for (const row of document.querySelectorAll("tr[id^='row-']")) {
      row.classList.toggle("mark", row.id === `row-${chosen.layer}`);
    }
  }

  function choose(changes) {
    Object.assign(chosen, changes);
    draw();
  }

  async function open(index) {
    chosen.example = index;
    const next = await exampleOf(index);
    if (chosen.example !== index) return; // another image was chosen meanwhile
    example = next;
    const [rows, columns] = example.grid;
    for (const id of ["image", "image-again"]) {
      get(id).hidden = example.image === null;
      if (example.image !== null) get(id).src = example.image;
      get(id).alt = `Image ${example.name}`;
      get(id).parentElement.style.aspectRatio = `${columns * facts.patch[1]} / ${rows * facts.patch[0]}`;
    }
    // The patch with the largest norm: a sink, where there is one.
    const norms = example.norms.row(chosen.layer);
    choose({ patch: norms.indexOf(Math.max(...norms)) });
    get("look").dataset.ready = String(index);
  }

  function patchUnder(event) {
    const box = get("map").getBoundingClientRect(), [rows, columns] = example.grid;
    const part = (x, low, size, count) => Math.min(count - 1, Math.max(0, Math.floor(((x - low) / size) * count)));
    return part(event.clientY, box.top, box.height, rows) * columns + part(event.clientX, box.left, box.width, columns);
  }

  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function move(event) {
    const step = STEPS[event.key];
    if (!step || !example || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); // the page would scroll
    const [rows, columns] = example.grid;
    const row = Math.floor(chosen.patch / columns) + step[0], column = (chosen.patch % columns) + step[1];
    if (row >= 0 && row < rows && column >= 0 && column < columns) choose({ patch: row * columns + column });
  }

  function fail(error) {
    get("trouble").hidden = false;
    get("trouble").textContent = typeof DecompressionStream === "undefined"
      ? "This browser is too old for the maps (it has no DecompressionStream)."
      : `The maps cannot be shown: ${error}`;
  }

  useColours(facts.colours);
  for (const bar of document.querySelectorAll(".bar i")) {
    bar.style.background = `linear-gradient(to right, ${facts.colours.join(", ")})`;
  }
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  get("example").addEventListener("change", (event) => open(Number(event.target.value)).catch(fail));
  get("quantity").addEventListener("change", (event) => choose({ quantity: event.target.value }));
  get("head").addEventListener("change", (event) => choose({ head: Number(event.target.value) }));
  get("layer").addEventListener("input", (event) => choose({ layer: Number(event.target.value) }));
  get("strength").addEventListener("input", draw);
  get("fixed").addEventListener("change", (event) => choose({ fixed: event.target.checked }));
  get("map").addEventListener("click", (event) => example && choose({ patch: patchUnder(event) }));
  get("map").addEventListener("keydown", move);
  get("drawings")?.addEventListener("click", (event) => {
    const band = event.target.closest("g[id*='-layer-']");
    if (band) choose({ layer: Number(band.id.split("-").at(-1)) });
  });
  new ResizeObserver(draw).observe(get("look"));
  open(0).catch(fail);
})();

"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const figures = read("data-figures"), maps = read("data-maps");
  const unpack = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const shown = {};

  // A figure is drawn by its own name, or by its name and the subdetector that is chosen.
  function drawFigures(all) {
    for (const target of document.querySelectorAll("[data-figure]")) {
      const name = target.dataset.figure, perSubdet = !(name in figures);
      if (!all && !perSubdet) continue;
      const figure = figures[perSubdet ? name + "-" + shown.subdet : name];
      target.hidden = !figure;
      for (const words of document.querySelectorAll('[data-nothing="' + name + '"]')) words.hidden = Boolean(figure);
      if (figure) Plotly.react(target, figure.data, figure.layout, config);
    }
    for (const row of document.querySelectorAll("tr[data-subdet]")) row.hidden = row.dataset.subdet !== shown.subdet;
    for (const table of document.querySelectorAll("table.rows")) table.hidden = !table.querySelector("tbody tr:not([hidden])");
  }

  function chooser(id, options, key, then) {
    const box = document.getElementById(id);
    for (const [value, name] of options) {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = name;
      button.setAttribute("aria-pressed", value === shown[key]);
      button.addEventListener("click", () => {
        shown[key] = value;
        for (const other of box.children) other.setAttribute("aria-pressed", other === button);
        then();
      });
      box.append(button);
    }
  }

  const cache = new Map();
  function numbers(run) {
    if (!cache.has(run)) cache.set(run, { hits: unpack(run.hits, Float64Array),
      values: Object.fromEntries(Object.entries(run.values).map(([k, v]) => [k, unpack(v, Float32Array)])) });
    return cache.get(run);
  }
  const short = (v, digits) => Number.isFinite(v) ? v.toPrecision(digits) : "not measured";

  // Cells apart from the colour scale (exactly zero, not measured) are a second image in one flat colour.
  function images(panel, part, run, names, axes) {
    const { hits, values } = numbers(run), shownValues = values[shown.quantity];
    const cells = unpack(panel.cells, Int32Array), width = 2 * part.reach + 1;
    const x = Array.from({ length: width }, (_, i) => i - part.reach), y = Array.from({ length: 72 }, (_, i) => i + 1);
    const main = [], flat = [], text = [];
    for (let r = 0; r < 72; r++) {
      const m = [], f = [], t = [];
      for (let c = 0; c < width; c++) {
        const row = cells[r * width + c], v = row < 0 ? NaN : shownValues[row];
        const apart = row >= 0 && (Number.isNaN(v) || (v === 0 && shown.quantity !== "variance"));
        m.push(row < 0 || apart ? null : v);
        f.push(apart ? 1 : null);
        t.push(row < 0 ? "" : "<b>" + names[row] + "</b><br>" + hits[row].toLocaleString("en") + " digis<br>" + run.unit + ": " + short(values.occupancy[row], 4) +
          "<br>variance / binomial: " + short(values.variance[row], 4) + (values.ratio ? "<br>RecHits / digis: " + short(values.ratio[row], 4) : ""));
      }
      main.push(m); flat.push(f); text.push(t);
    }
    const common = { type: "heatmap", x, y, hovertext: text, hoverinfo: "text", hoverongaps: false, ...axes };
    const colour = apartColour();
    return [{ ...common, z: main, coloraxis: "coloraxis" },
      { ...common, z: flat, showscale: false, colorscale: [[0, colour], [1, colour]], zmin: 0, zmax: 1 }];
  }
  const apartColour = () => shown.quantity === "occupancy" ? maps.colours.zero : "#fff0a8";

  function drawMaps() {
    const run = maps.runs[shown.run], geometry = maps.geometries[run.geometry], part = geometry.subdets[shown.subdet];
    const target = document.getElementById("map"), note = document.getElementById("map-note");
    const missing = !part ? run.label + " holds no " + shown.subdet + "." : !run.values[shown.quantity] ? run.label + " holds no RecHits." : "";
    target.hidden = Boolean(missing);
    note.textContent = missing || "The +z side is on the right; zooming in one depth zooms in all. All runs share a colour scale.";
    legend(missing);
    if (missing) return;
    const panels = part.panels, most = target.clientWidth < 900 || panels.length === 4 ? 2 : panels.length > 6 && target.clientWidth > 1200 ? 4 : 3;
    const columns = Math.min(panels.length, most), rows = Math.ceil(panels.length / columns);
    const height = panels.length === 1 ? 470 : most === 4 ? 360 : 400, gapX = 0.055, gapY = 75 / (height * rows);
    const limits = maps.limits[shown.subdet][shown.quantity];
    const layout = { height: height * rows + 60, margin: { l: 55, r: 20, t: 30, b: 45 }, showlegend: false, plot_bgcolor: maps.colours.no_channel,
      paper_bgcolor: "#fff", font: { family: "system-ui, sans-serif", size: 13, color: "#1c1c1c" }, annotations: [],
      coloraxis: { colorscale: maps.scales[shown.quantity], cmin: limits[0], cmax: limits[1],
        colorbar: { title: { text: maps.titles[shown.quantity] || run.unit, side: "right" }, thickness: 18, outlinewidth: 1 } },
      hoverlabel: { align: "left", bgcolor: "#fff", bordercolor: "#444", font: { size: 13, color: "#1c1c1c" } } };
    const data = [];
    panels.forEach((panel, i) => {
      const column = i % columns, row = Math.floor(i / columns), id = i ? String(i + 1) : "";
      const w = (1 - gapX * (columns - 1)) / columns, h = (1 - gapY * (rows - 1)) / rows;
      const left = column * (w + gapX), top = 1 - row * (h + gapY), axes = { xaxis: "x" + id, yaxis: "y" + id };
      const frame = { showline: true, mirror: true, linecolor: "#222", ticks: "outside", showgrid: false, zeroline: false };
      layout["xaxis" + id] = { ...frame, domain: [left, left + w], anchor: "y" + id, range: [-part.reach - 1, part.reach + 1],
        title: { text: "ieta", standoff: 4 }, ...(i ? { matches: "x" } : {}) };
      layout["yaxis" + id] = { ...frame, domain: [top - h, top], anchor: "x" + id, range: [0.5, 72.5], tickvals: [1, 18, 36, 54, 72],
        title: { text: "iphi", standoff: 4 }, ...(i ? { matches: "y" } : {}) };
      layout.annotations.push({ text: "<b>" + shown.subdet + " depth " + panel.depth + "</b>", x: left, y: top, xref: "paper", yref: "paper",
        xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 15 } });
      data.push(...images(panel, part, run, geometry.names, axes));
    });
    Plotly.react(target, data, layout, config);
  }

  function legend(missing) {
    const apart = { occupancy: "exactly zero", variance: "not measured", ratio: "no RecHits, or no digis" }[shown.quantity];
    const entries = missing ? [] : [[apartColour(), apart], [maps.colours.no_channel, "no channel"]];
    document.getElementById("legend").replaceChildren(...entries.map(([colour, name]) => {
      const item = document.createElement("span"), swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.background = colour;
      item.append(swatch, name);
      return item;
    }));
  }

  if (maps) {
    const wanted = new URLSearchParams(location.hash.slice(1)), one = (key, of) => of.includes(wanted.get(key)) ? wanted.get(key) : of[0];
    shown.subdet = maps.subdets.includes(wanted.get("subdet")) ? wanted.get("subdet") : maps.subdets.includes("HE") ? "HE" : maps.subdets[0];
    shown.quantity = one("quantity", maps.quantities);
    shown.run = 0;
    const words = { occupancy: "occupancy", variance: "variance / binomial", ratio: "RecHits / digis" };
    chooser("choose-subdet", maps.subdets.map((name) => [name, name]), "subdet", () => { drawMaps(); drawFigures(false); });
    chooser("choose-run", maps.runs.map((run, i) => [i, run.label]), "run", drawMaps);
    chooser("choose-quantity", maps.quantities.map((name) => [name, words[name]]), "quantity", drawMaps);
    drawMaps();
  }
  drawFigures(true);
})();

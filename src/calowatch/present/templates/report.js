"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

  for (const target of document.querySelectorAll("[data-figure]")) {
    const figure = read("data-" + target.dataset.figure);
    Plotly.newPlot(target, figure.data, figure.layout, { ...config, displayModeBar: false });
  }

  const maps = read("data-maps");
  const unpack = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const values = Object.fromEntries(Object.entries(maps.values).map(([k, v]) => [k, unpack(v, Float32Array)]));
  const counts = unpack(maps.counts, Float64Array);
  const unit = unpack(maps.unit, Int32Array);
  const hardware = Object.entries(maps.names.hardware).map(([label, h]) => [label, h.names, unpack(h.codes, Int32Array)]);
  const shown = { quantity: "verdict", subdet: maps.first };
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (v, digits) => Number.isFinite(v) ? v.toPrecision(digits) : "-";

  function describe(row) {
    const lines = ["<b>" + maps.names.channel[row] + "</b>  " + maps.states[values.verdict[row]].name];
    if (unit[row] >= 0) lines.push("<b>" + escaped(maps.unit_names[unit[row]]) + "</b>");
    const of = maps.events === null ? "" : " in " + maps.events.toLocaleString("en") + " events";
    lines.push(counts[row].toLocaleString("en") + " hits" + of);
    lines.push(maps.titles.occupancy + ": " + short(values.occupancy[row], 4) + ", expected " + short(values.expectation[row], 4));
    lines.push("strongest evidence: " + (Number.isFinite(values.evidence[row]) ? values.evidence[row].toFixed(1) + " \u03c3" : "no verdict"));
    const parts = hardware.map(([label, names, codes]) => [label, names[codes[row]]]).filter(([, name]) => name);
    lines.push(parts.length ? parts.map(([label, name]) => label + " " + name).join("<br>") : "electronics unknown");
    return lines.join("<br>");
  }

  function scale(quantity, part) {
    if (quantity === "verdict") {
      const n = maps.states.length;
      const steps = maps.states.flatMap((s, i) => [[i / n, s.colour], [(i + 1) / n, s.colour]]);
      return { colorscale: steps, cmin: -0.5, cmax: n - 0.5, showscale: false };
    }
    const bar = { title: { text: maps.titles[quantity], side: "right" }, thickness: 18, outlinewidth: 1 };
    const limits = quantity === "evidence" ? [-maps.limit, maps.limit] : [0, part.top];
    return { colorscale: maps.scales[quantity], cmin: limits[0], cmax: limits[1], colorbar: bar };
  }

  // Cells outside the colour scale (exactly zero, no verdict) are a second image in one flat colour.
  function images(panel, part, quantity, axes) {
    const cells = unpack(panel.cells, Int32Array), width = 2 * part.reach + 1;
    const x = Array.from({ length: width }, (_, i) => i - part.reach), y = Array.from({ length: 72 }, (_, i) => i + 1);
    const main = [], flat = [], text = [];
    for (let r = 0; r < 72; r++) {
      const m = [], f = [], t = [];
      for (let c = 0; c < width; c++) {
        const row = cells[r * width + c], v = row < 0 ? null : values[quantity][row];
        const apart = row >= 0 && (quantity === "evidence" ? Number.isNaN(v) : quantity !== "verdict" && v === 0);
        m.push(row < 0 || apart ? null : v);
        f.push(apart ? 1 : null);
        t.push(row < 0 ? "" : "ieta " + x[c] + ", iphi " + y[r] + ", depth " + panel.depth + "<br>" + describe(row));
      }
      main.push(m); flat.push(f); text.push(t);
    }
    const common = { type: "heatmap", x, y, hovertext: text, hoverinfo: "text", hoverongaps: false, ...axes };
    const colour = quantity === "evidence" ? maps.colours.no_verdict : maps.colours.zero;
    return [
      { ...common, z: main, coloraxis: "coloraxis" },
      { ...common, z: flat, showscale: false, colorscale: [[0, colour], [1, colour]], zmin: 0, zmax: 1 },
    ];
  }

  function borders(panel, quantity, axes) {
    const line = (color, width) => ({ type: "scatter", mode: "lines", x: unpack(panel.x, Float32Array), y: unpack(panel.y, Float32Array),
      line: { color, width }, hoverinfo: "skip", connectgaps: false, showlegend: false, ...axes });
    return quantity === "verdict" ? [line("#000", 1)] : [line("#fff", 3), line("#000", 1.3)];
  }

  function draw() {
    const part = maps.subdets[shown.subdet], quantity = shown.quantity, panels = part.panels;
    const target = document.getElementById("map");
    const most = target.clientWidth < 900 || panels.length === 4 ? 2 : panels.length > 6 && target.clientWidth > 1200 ? 4 : 3;
    const columns = Math.min(panels.length, most), rows = Math.ceil(panels.length / columns);
    const height = panels.length === 1 ? 470 : most === 4 ? 360 : 400, gapX = 0.055, gapY = 75 / (height * rows);
    const layout = { height: height * rows + 60, margin: { l: 55, r: 20, t: 30, b: 45 }, showlegend: false, plot_bgcolor: maps.colours.no_channel,
      paper_bgcolor: "#fff", font: { family: "system-ui, sans-serif", size: 13, color: "#1c1c1c" }, annotations: [],
      coloraxis: scale(quantity, part), hoverlabel: { align: "left", bgcolor: "#fff", bordercolor: "#444", font: { size: 13, color: "#1c1c1c" } } };
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
      data.push(...images(panel, part, quantity, axes));
      data.push(...borders(panel, quantity, axes));
    });
    Plotly.react(target, data, layout, config);
    explain(part, quantity);
  }

  function explain(part, quantity) {
    const present = new Set(part.panels.flatMap((p) => Array.from(unpack(p.cells, Int32Array))).filter((r) => r >= 0).map((r) => values.verdict[r]));
    const entries = quantity === "verdict" ? maps.states.filter((_, i) => present.has(i)).map((s) => [s.colour, s.name])
      : quantity === "evidence" ? [[maps.colours.no_verdict, "no verdict"]] : [[maps.colours.zero, "exactly zero"]];
    entries.push([maps.colours.no_channel, "no channel"]);
    document.getElementById("legend").replaceChildren(...entries.map(([colour, name]) => {
      const item = document.createElement("span"), swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.background = colour;
      item.append(swatch, name);
      return item;
    }));
    const clipped = quantity !== "evidence" ? "" : "Largest deviation over the run, signed: blue for fewer hits than expected, orange for more. " +
      part.clipped + " channels lie beyond \u00b1" + maps.limit + " \u03c3 and keep the end colour. ";
    const axes = "The +z side is on the right; zooming in one depth zooms in all. ";
    const mean = quantity === "occupancy" || quantity === "expectation" ? "Mean over the run. " : "";
    const listed = part.units.slice(0, 40).join(", ") + (part.units.length > 40 ? " and " + (part.units.length - 40) + " more" : "");
    const units = !part.units.length ? "No unit of " + shown.subdet + " is named by a verdict." : "Outlined: " + listed + ".";
    document.getElementById("map-note").textContent = mean + clipped + axes + units;
  }

  function chooser(id, options, key) {
    const box = document.getElementById(id);
    for (const [name, count] of options) {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = name;
      if (count) {
        const badge = document.createElement("span");
        badge.className = "count"; badge.textContent = count; badge.title = count + " channels named by a verdict";
        button.append(badge);
      }
      button.setAttribute("aria-pressed", name === shown[key]);
      button.addEventListener("click", () => {
        shown[key] = name;
        for (const other of box.children) other.setAttribute("aria-pressed", other === button);
        draw();
      });
      box.append(button);
    }
  }

  const wanted = new URLSearchParams(location.hash.slice(1));
  if (maps.quantities.includes(wanted.get("quantity"))) shown.quantity = wanted.get("quantity");
  if (maps.subdets[wanted.get("subdet")]) shown.subdet = wanted.get("subdet");
  chooser("choose-quantity", maps.quantities.map((name) => [name, 0]), "quantity");
  chooser("choose-subdet", Object.entries(maps.subdets).map(([name, part]) => [name, part.failing]), "subdet");
  draw();
})();

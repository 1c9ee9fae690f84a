"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("data-figures").textContent);
  const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  for (const target of document.querySelectorAll("[data-figure]")) {
    const figure = figures[target.dataset.figure];
    if (figure) Plotly.newPlot(target, figure.data, figure.layout, config);
  }
})();

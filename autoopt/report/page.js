const blocks = [...document.querySelectorAll("script[data-plot]")];
for (const block of blocks) {
  const { data, layout } = JSON.parse(block.textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  Plotly.newPlot(block.dataset.plot, data, layout, options);
}
const resize = () => blocks.forEach((block) => Plotly.Plots.resize(block.dataset.plot));
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  resize();
});
addEventListener("afterprint", resize);

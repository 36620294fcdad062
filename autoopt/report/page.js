const nonce = document.currentScript.nonce;
const blocks = [...document.querySelectorAll("script[data-plot]")];

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function draw() {
  const script = document.createElement("script");
  script.nonce = nonce;
  script.textContent = await unpacked(document.getElementById("plotly"));
  document.head.append(script);
  const options = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const template = JSON.parse(document.getElementById("template").textContent);
  for (const block of blocks) {
    const { data, layout } = JSON.parse(block.textContent);
    Plotly.newPlot(block.dataset.plot, data, { ...layout, template }, options);
  }
}

const resize = () => blocks.forEach((block) => Plotly.Plots.resize(block.dataset.plot));
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  resize();
});
addEventListener("afterprint", resize);
draw();

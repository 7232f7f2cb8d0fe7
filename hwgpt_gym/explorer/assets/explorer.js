// Saves the figure of the fronts as a picture, on white, whatever the ground of the page is.
document.addEventListener("click", function (event) {
  const button = event.target.closest("[data-format]");
  if (!button) { return; }
  const drawn = document.querySelector("#front .js-plotly-plot");
  const title = { text: button.dataset.title, x: 0.01, y: 0.98, yanchor: "top", font: { size: 15 } };
  const layout = { ...drawn.layout, title, paper_bgcolor: "#ffffff", margin: { ...drawn.layout.margin, t: 96 } };
  const size = { format: button.dataset.format, width: 960, height: 640, filename: "front" };
  Plotly.downloadImage({ data: drawn.data, layout }, size);
});

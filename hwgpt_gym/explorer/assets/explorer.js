// Saves the figure of the fronts as a picture, on white, whatever the ground of the page is.
document.addEventListener("click", function (event) {
  const button = event.target.closest("[data-format]");
  if (!button) { return; }
  const drawn = document.querySelector("#front .js-plotly-plot");
  const size = { format: button.dataset.format, width: 960, height: 640, filename: "front" };
  Plotly.downloadImage({ data: drawn.data, layout: { ...drawn.layout, paper_bgcolor: "#ffffff" } }, size);
});

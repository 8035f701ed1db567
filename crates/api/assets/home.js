"use strict";
// Draws what the table of hours says. Times are in UTC, as in the table.
const chart = document.getElementById("chart");
const rows = [...document.querySelectorAll("#hours tbody tr")];
const column = (name) => rows.map(({ dataset }) => (dataset[name] === "" ? null : Number(dataset[name])));
const inkOf = (name) => getComputedStyle(document.querySelector(`.${name}-ink`)).color;
let drawn;

function draw() {
  drawn?.destroy();
  const [soft, line] = [inkOf("axis"), inkOf("line")];
  const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
  const bars = uPlot.paths.bars({ size: [0.7, 60] });
  const series = (name) => ({ stroke: inkOf(name), width: 2, points: { show: false } });
  drawn = new uPlot(
    {
      width: chart.clientWidth,
      height: 220,
      cursor: { show: false },
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      // Half an hour more on either side, so that the first and last bar are whole.
      scales: {
        x: { range: (_, first, last) => [first - 1800, last + 1800] },
        y: { range: (_, __, most) => [0, Math.max(1, most)] },
        ms: { range: (_, __, most) => [0, most || 1] },
      },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(11, 16)) },
        { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6, 1e7] },
        { ...axis, scale: "ms", side: 1, grid: { show: false } },
      ],
      series: [
        {},
        { ...series("calls"), fill: inkOf("calls"), paths: bars },
        { ...series("failed"), fill: inkOf("failed"), paths: bars },
        { ...series("refused"), dash: [6, 4] },
        { ...series("p95"), scale: "ms", points: { show: true, fill: inkOf("p95") } },
      ],
    },
    ["at", "calls", "failed", "refused", "p95"].map(column),
    chart,
  );
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(() => drawn.setSize({ width: chart.clientWidth, height: 220 })).observe(chart);

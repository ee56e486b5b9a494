// Charts of time, by uPlot: `data-chart` holds its columns. One is drawn when its page is, when its numbers have changed,
// its width or the theme; morphing leaves what was drawn alone.
import { leaveAlone } from "./morphing.js";

const LEVELS = ["Unreachable", "Degraded", "Healthy"];
const HEIGHT = 200;
const drawn = new WeakMap();

const isChart = (element) => element instanceof Element && element.hasAttribute("data-chart");

leaveAlone((old, fresh) => {
  if (!isChart(old) || !isChart(fresh)) return false;
  if (old.dataset.chart !== fresh.dataset.chart) {
    old.dataset.chart = fresh.dataset.chart;
    draw(old);
  }
  return true;
});

function draw(place) {
  drawn.get(place)?.destroy();
  drawn.set(place, new uPlot(options(place), JSON.parse(place.dataset.chart), place));
}

function options(place) {
  const colour = (name) => resolved(place, `var(--tblr-${name})`);
  const axis = { stroke: colour("secondary"), grid: { stroke: colour("border-color"), width: 1 }, ticks: { show: false } };
  const paths = uPlot.paths.stepped({ align: 1 });
  return {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { verdict: { range: [-0.2, 2.4] }, nodes: { range: (_chart, _least, most) => [0, Math.max(most ?? 1, 1) * 1.15] } },
    axes: [
      axis,
      { ...axis, scale: "verdict", size: 90, splits: [0, 1, 2], values: () => LEVELS },
      { ...axis, scale: "nodes", side: 1, size: 44, grid: { show: false }, incrs: [1, 2, 5, 10, 50, 100, 500, 1000] },
    ],
    series: [
      {},
      { label: "Health", scale: "verdict", paths, stroke: colour("green"), fill: resolved(place, "rgba(var(--tblr-green-rgb), 0.12)"), width: 2, value: (_chart, level) => LEVELS[level] ?? "" },
      { label: "Nodes ready", scale: "nodes", paths, stroke: colour("azure"), width: 2, dash: [6, 4] },
    ],
  };
}

// A canvas knows no variables: the theme's colours as it draws them at that place.
function resolved(place, colour) {
  const before = place.style.color;
  place.style.color = colour;
  const found = getComputedStyle(place).color;
  place.style.color = before;
  return found;
}

const all = () => document.querySelectorAll("[data-chart]");
const widths = new ResizeObserver((changes) => {
  for (const { target, contentRect } of changes) drawn.get(target)?.setSize({ width: contentRect.width, height: HEIGHT });
});

function find() {
  for (const place of all()) {
    if (drawn.has(place)) continue;
    draw(place);
    widths.observe(place);
  }
}

find();
new MutationObserver(find).observe(document.body, { childList: true, subtree: true }); // whoever puts one there
new MutationObserver(() => all().forEach(draw)).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });

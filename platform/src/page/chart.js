// Small curves, as SVG in the document: no library, no image to load. The numbers are in the title, for those who do not see the curve.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 36;
const EDGE = 3;

const shape = (tag, attributes) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

// Points are {at, value}; `show` writes a value.
export const curve = (label, points, show) => {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", class: "curve" });
  const title = document.createElementNS(SVG, "title");
  svg.append(title);
  if (points.length === 0) {
    title.textContent = `${label}: nothing is known yet`;
    svg.append(shape("line", { x1: EDGE, y1: HEIGHT / 2, x2: WIDTH - EDGE, y2: HEIGHT / 2, class: "nothing" }));
    return svg;
  }
  const values = points.map((point) => point.value);
  const [least, most] = [Math.min(...values, 0), Math.max(...values)];
  const last = values[values.length - 1];
  title.textContent = `${label}: now ${show(last)}, from ${show(Math.min(...values))} to ${show(most)}`;
  const x = (index) => EDGE + (points.length === 1 ? WIDTH - 2 * EDGE : (index * (WIDTH - 2 * EDGE)) / (points.length - 1));
  const y = (value) => HEIGHT - EDGE - (most === least ? 0 : ((value - least) * (HEIGHT - 2 * EDGE)) / (most - least));
  const line = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  svg.append(shape("polyline", { points: line, class: "line" }));
  svg.append(shape("circle", { cx: x(points.length - 1).toFixed(1), cy: y(last).toFixed(1), r: 2.5, class: "dot" }));
  return svg;
};

"""The page that a report is put into: style sheet for light and dark, and the few lines that make the map zoom."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{title}}</title>
<style>
:root { --page: #f7f8fa; --card: #fff; --ink: #1b2430; --soft: #5b6675; --rule: #dde2e8;
  --truth: #0a8f4f; --track: #d9480f; --fix: #1c6dd0; --honest: #8a94a3;
  --TRACKING: #2f9e63; --DEGRADED: #e0a100; --LOST: #d64045; --WAITING: #9aa4b1; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e6eaf0; --soft: #9aa6b5;
  --rule: #2d3641; --truth: #45d08a; --track: #ff8a4c; --fix: #62a8ff; --honest: #6f7b8a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1100px; background: var(--page); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 10px; }
.sub, .legend, figcaption, .tick, .label { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px; margin: 14px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; }
.cards div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; }
.cards b { display: block; font-size: 1.35rem; } .cards span { color: var(--soft); font-size: .82rem; }
svg { display: block; width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
@media (max-width: 600px) { svg text { font-size: 19px; } }
.map { max-height: 80vh; border-radius: 6px; background: #30363c; touch-action: none; cursor: grab; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke: var(--c); stroke-width: 2px; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.dots { fill: none; stroke: var(--c); stroke-linecap: round; vector-effect: non-scaling-stroke; }
.area { fill: var(--c); opacity: .18; }
.truth { --c: var(--truth); } .track { --c: var(--track); } .fix { --c: var(--fix); } .honest { --c: var(--honest); }
.map .truth, figure .truth { --c: #45f09a; } .map .track { --c: #ff8a4c; } .map .fix, figure .fix { --c: #6fb4ff; }
.map .truth { stroke-width: 5px; }
.state { fill: var(--c); } .TRACKING { --c: var(--TRACKING); } .DEGRADED { --c: var(--DEGRADED); }
.LOST { --c: var(--LOST); } .WAITING { --c: var(--WAITING); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0 0; font-size: .9rem; align-items: center; }
.key { display: inline-block; width: 14px; height: 10px; border-radius: 3px; background: var(--c); margin-right: 6px; }
button { font: inherit; min-width: 40px; padding: 4px 10px; border: 1px solid var(--rule); border-radius: 6px;
  background: var(--page); color: var(--ink); }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; }
figure { margin: 0; } figure img { display: block; width: 100%; border-radius: 6px 6px 0 0; }
figcaption { font-size: .88rem; margin-top: 4px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: 5px 8px; border-bottom: 1px solid var(--rule); }
td:first-child { white-space: nowrap; }
ul { margin: 0; padding-left: 20px; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{title}}</h1>
{{sections}}
<script>
const map = document.getElementById("map");
if (map) {
  const all = map.getAttribute("viewBox").split(" ").map(Number), held = new Map();
  let box = [...all];
  const show = () => map.setAttribute("viewBox", box.join(" "));
  const at = (x, y) => {
    const p = new DOMPoint(x, y).matrixTransform(map.getScreenCTM().inverse());
    return [p.x, p.y];
  };
  const zoom = (factor, x, y) => {
    const size = Math.min(Math.max(box[2] * factor, all[2] / 200), all[2]), f = size / box[2];
    box = [x - (x - box[0]) * f, y - (y - box[1]) * f, size, box[3] * f];
    show();
  };
  map.addEventListener("wheel", e => {
    e.preventDefault();
    zoom(Math.exp(e.deltaY / 500), ...at(e.clientX, e.clientY));
  }, { passive: false });
  map.addEventListener("pointerdown", e => {
    held.set(e.pointerId, [e.clientX, e.clientY]);
    map.setPointerCapture(e.pointerId);
  });
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, e => held.delete(e.pointerId));
  map.addEventListener("pointermove", e => {
    const old = held.get(e.pointerId);
    if (!old) return;
    const now = [e.clientX, e.clientY], other = [...held].find(([id]) => id !== e.pointerId);
    if (other) {
      const gap = p => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]) || 1;
      zoom(gap(old) / gap(now), ...at(...other[1]));
    } else {
      const a = at(...old), b = at(...now);
      box[0] += a[0] - b[0]; box[1] += a[1] - b[1];
      show();
    }
    held.set(e.pointerId, now);
  });
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => {
    const factor = Number(button.dataset.zoom);
    if (factor) zoom(factor, box[0] + box[2] / 2, box[1] + box[3] / 2); else { box = [...all]; show(); }
  });
}
</script>
</body>
</html>
"""

"use strict";
// Draws the curves of the report. Data: one object per scheme, see payload.rs; all names go in as text, never as markup.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const schemes = JSON.parse(byId("data").textContent);
  const shown = schemes.map(() => true);
  const charts = new Map();
  let byteScale = "log";
  let against = "up";

  // What accuracy can be held against: bytes of all clients so far, or virtual time.
  const sum = (a, b) => a.map((v, i) => v + b[i]);
  const AGAINST = {
    up: { of: (s) => s.up, name: "bytes sent", long: "payload bytes sent by all clients so far", at: (v) => `With ${bytes(v)} sent` },
    down: { of: (s) => s.down, name: "bytes received", long: "payload bytes sent to all clients so far", at: (v) => `With ${bytes(v)} received` },
    both: { of: (s) => s.both, name: "bytes moved", long: "payload bytes of all clients in both directions so far", at: (v) => `With ${bytes(v)} moved` },
    time: { of: (s) => s.seconds, name: "time", long: "virtual time so far", at: (v) => `After ${duration(v)}` },
  };
  schemes.forEach((s) => { s.both = sum(s.up, s.down); });
  const xs = (s) => AGAINST[against].of(s);

  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const ink = (s) => css(s.place === null ? "--s-base" : `--s${s.place % 7}`);
  const faint = (color) => `${color}2b`; // the style sheet's colours are #rrggbb
  const dash = (s) => (s.place !== null && s.place >= 7 ? [7, 4] : undefined);
  const dotClass = (s) => (s.place === null ? "dot s-base" : `dot s${s.place % 7}${s.place >= 7 ? " dashed" : ""}`);

  function element(tag, props, ...children) {
    const made = Object.assign(document.createElement(tag), props);
    made.append(...children);
    return made;
  }

  function bytes(value) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (value >= 1023.5 && unit < 5) { value /= 1024; unit += 1; }
    const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return `${value.toFixed(digits)} ${units[unit]}`;
  }
  function duration(value) {
    const [unit, name] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => value >= 1.5 * size) || [0.001, "ms"];
    return `${Number((value / unit).toPrecision(3))} ${name}`;
  }
  const tickX = (value) => (against === "time" ? duration(value) : tickBytes(value));
  const tickBytes = (value) => bytes(value).replace(/\.0+ /, " ");
  const small = (value) => (value >= 0.0001 ? String(Number(value.toPrecision(3))) : value.toExponential(1));

  // Values of a byte axis that are round in binary units, as many as fit.
  function byteSplits(u, _axis, min, max) {
    const room = Math.max(2, Math.floor(u.bbox.width / devicePixelRatio / 90));
    const out = [];
    if (byteScale === "log" && against === "time") {
      const nice = [0.001, 0.01, 0.1, 1, 4, 15, 60, 240, 900, 3600, 14400, 43200, 86400, 345600, 1382400].filter((v) => v >= min && v <= max);
      return nice.length >= 2 ? nice.filter((_v, i) => i % Math.ceil(nice.length / room) === 0) : [min, max];
    }
    if (byteScale === "log") {
      const span = Math.log2(max / min);
      const step = [1, 2, 4, 5, 10, 20].find((s) => span / s <= room) || 40;
      for (let e = Math.ceil(Math.log2(min) / step) * step; 2 ** e <= max; e += step) out.push(2 ** e);
    } else {
      const rough = (max - min) / room;
      const step = against === "time" ? [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400].find((v) => v >= rough) || 86400 * Math.ceil(rough / 86400) : 2 ** Math.ceil(Math.log2(rough));
      for (let v = Math.ceil(min / step) * step; v <= max; v += step) out.push(v);
    }
    return out;
  }

  const around = (share, least) => (_u, min, max) => {
    if (min === null || max === null) return [0, 1];
    const more = Math.max((max - min) * share, max === min ? least : 0);
    return [min - more, max + more];
  };
  const aroundLog = (share) => (_u, min, max) => {
    if (min === null || max === null || !(min > 0)) return [1, 2];
    const factor = max === min ? 2 : (max / min) ** share;
    return [min / factor, max * factor];
  };

  // Columns for uPlot: x, then mean, low and high of each scheme. A value that `usable` refuses becomes a gap.
  function columns(xOf, bandOf, usable, usableX) {
    const tables = schemes.map((s) => {
      const keep = xOf(s).map((x, i) => i).filter((i) => usableX(xOf(s)[i]));
      const pick = (list) => keep.map((i) => (list[i] !== null && usable(list[i]) ? list[i] : null));
      const band = bandOf(s);
      return [keep.map((i) => xOf(s)[i]), pick(band.mean), pick(band.low), pick(band.high)];
    });
    return tables.length ? uPlot.join(tables) : [[]];
  }

  // A dot where a curve ends; all that is seen of a curve of one round.
  function lastOnly(u, seriesIdx) {
    const last = u.data[seriesIdx].findLastIndex((v) => v !== null && v !== undefined);
    return last < 0 ? [] : [last];
  }

  function series() {
    const none = { show: false };
    return schemes.flatMap((s, i) => {
      const edge = { show: shown[i], stroke: "transparent", width: 0, points: none, spanGaps: true };
      const points = { show: true, size: 8, fill: ink(s), stroke: ink(s), filter: lastOnly };
      return [{ show: shown[i], label: s.name, stroke: ink(s), width: 2, dash: dash(s), points, spanGaps: true }, edge, edge];
    });
  }

  const bands = () => schemes.map((s, i) => ({ series: [3 * i + 3, 3 * i + 2], fill: faint(ink(s)) }));

  // The last value at or left of the cursor: what had been reached by then.
  function reached(u, seriesIdx, closest, x) {
    const values = u.data[seriesIdx];
    let i = closest;
    while (i >= 0 && (values[i] === null || values[i] === undefined || u.data[0][i] > x)) i -= 1;
    return i < 0 ? null : i;
  }

  function tooltip(rowsAt) {
    let tip;
    return {
      hooks: {
        init: (u) => {
          tip = element("div", { className: "tip", hidden: true });
          u.over.append(tip);
        },
        setCursor: (u) => {
          const { left, top } = u.cursor;
          const at = left >= 0 ? rowsAt(u.posToVal(left, "x")) : null;
          tip.hidden = !at || at.rows.length === 0;
          if (tip.hidden) return;
          const rows = at.rows.map((row) => element("tr", {},
            element("td", {}, element("i", { className: dotClass(row.scheme) }), row.scheme.name),
            ...row.cells.map((text) => element("td", { textContent: text }))));
          tip.replaceChildren(element("strong", { textContent: at.title }), element("table", {}, element("tbody", {}, ...rows)));
          const { offsetWidth: w, offsetHeight: h } = tip;
          const space = { w: u.over.clientWidth, h: u.over.clientHeight };
          const x = left + 16 + w <= space.w ? left + 16 : left - 16 - w;
          tip.style.left = `${Math.max(-40, Math.min(x, space.w - w))}px`;
          tip.style.top = `${Math.max(0, Math.min(top - h / 2, space.h - h))}px`;
        },
      },
    };
  }

  function rowsBy(indexOf, bandOf, show, extra) {
    return schemes
      .map((scheme, i) => ({ scheme, i, at: shown[i] ? indexOf(scheme) : -1 }))
      .filter(({ scheme, at }) => at >= 0 && bandOf(scheme).mean[at] !== null && bandOf(scheme).mean[at] !== undefined)
      .sort((a, b) => bandOf(b.scheme).mean[b.at] - bandOf(a.scheme).mean[a.at])
      .map(({ scheme, at }) => {
        const { mean, low, high } = bandOf(scheme);
        const spread = high[at] > low[at] ? `${show(low[at])} to ${show(high[at])}` : "";
        return { scheme, cells: [show(mean[at]), spread, ...extra(scheme, at)] };
      });
  }

  const percent = (v) => v.toFixed(2);
  const accuracy = (s) => s.accuracy;

  function axis(more) {
    return Object.assign({ stroke: css("--quiet"), font: `12px ${css("--sans")}`, labelFont: `12px ${css("--sans")}`, grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false } }, more);
  }

  const PRINTED = 308; // half the width of an A4 page within its margins, in CSS pixels
  const widthOf = (box) => ("print" in root.dataset ? PRINTED : Math.max(200, box.clientWidth));

  function plot(id, height, data, scales, axes, rowsAt, dataIdx) {
    const box = byId(id);
    const inkAt = (_u, i) => ink(schemes[Math.floor((i - 1) / 3)]);
    charts.get(id)?.destroy();
    const options = {
      width: widthOf(box),
      height,
      scales,
      axes,
      series: [{}, ...series()],
      bands: bands(),
      legend: { show: false },
      cursor: { y: false, dataIdx, points: { size: (_u, i) => (i % 3 === 1 ? 9 : 0), width: 0, fill: inkAt, stroke: inkAt } },
      plugins: [tooltip(rowsAt)],
    };
    charts.set(id, new uPlot(options, data, box));
  }

  const all = () => true;
  const every = (_u, splits) => splits; // uPlot drops most labels of a log axis by itself
  const height = () => (window.innerWidth < 600 ? 260 : 400);

  // The byte axis fits the schemes shown, unless it is zoomed.
  const ofShown = (range) => (u, min, max) => {
    const [first, last] = [u.data[0][0], u.data[0].at(-1)];
    const seen = schemes.filter((_s, i) => shown[i]).flatMap((s) => xs(s).filter((b) => b > 0));
    if (min !== first || max !== last || seen.length === 0) return range(u, min, max);
    return range(u, seen.reduce((a, b) => Math.min(a, b)), seen.reduce((a, b) => Math.max(a, b)));
  };

  function drawBytes() {
    const log = byteScale === "log";
    const data = columns(xs, accuracy, all, (x) => x > 0);
    const range = ofShown(log ? aroundLog(0.02) : around(0.02, 1));
    const x = log ? { time: false, distr: 3, log: 2, range } : { time: false, range };
    const axes = [
      axis({ size: 30, splits: byteSplits, filter: every, values: (_u, splits) => splits.map(tickX), grid: { stroke: css("--grid"), width: 1, filter: every } }),
      axis({ size: 44 }),
    ];
    plot("bytes", height(), data, { x, y: { range: around(0.05, 1) } }, axes, (value) => ({
      title: AGAINST[against].at(value),
      rows: rowsBy((s) => xs(s).findLastIndex((b) => b > 0 && b <= value), accuracy, percent, (s, at) => [`round ${s.rounds[at]}`]),
    }), reached);
  }

  function drawRounds(id, bandOf, y, usable, show) {
    const data = columns((s) => s.rounds, bandOf, usable, all);
    const incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
    const axes = [axis({ size: 30, incrs }), axis({ size: 44, ...y.axis })];
    plot(id, 280, data, { x: { time: false, range: around(0.02, 1) }, y: y.scale }, axes, (value) => {
      const round = Math.max(1, Math.round(value));
      return { title: `After round ${round}`, rows: rowsBy((s) => s.rounds.indexOf(round), bandOf, show, () => []) };
    });
  }

  // Ticks of a log axis: powers of ten where there are enough, else 1, 2 and 5 times them, else evenly spaced values.
  function logSplits(_u, _axis, min, max) {
    const within = (factors) => {
      const out = [];
      for (let e = Math.floor(Math.log10(min)); e <= Math.log10(max); e += 1) {
        for (const f of factors) {
          const v = Number(`${f}e${e}`);
          if (v >= min && v <= max) out.push(v);
        }
      }
      return out;
    };
    const found = [[1], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]].map(within).find((ticks) => ticks.length >= 3);
    return found || [0.1, 0.5, 0.9].map((part) => Number((min + part * (max - min)).toPrecision(2)));
  }

  function draw() {
    const hasError = schemes.some((s) => s.nmse.mean.some((v) => v > 0));
    byId("nmse-card").style.display = hasError ? "" : "none";
    byId("rounds").parentElement.classList.toggle("alone", !hasError);
    drawBytes();
    drawRounds("rounds", accuracy, { scale: { range: around(0.05, 1) } }, all, percent);
    if (!hasError) return;
    const label = (_u, splits) => splits.map((v) => (v === null ? "" : small(v)));
    const grid = { stroke: css("--grid"), width: 1, filter: every };
    const y = { scale: { distr: 3, range: aroundLog(0.08) }, axis: { size: 60, splits: logSplits, values: label, filter: every, grid } };
    drawRounds("nmse", (s) => s.nmse, y, (v) => v > 0, small);
  }

  function toggle(i, button) {
    shown[i] = !shown[i];
    button.setAttribute("aria-pressed", String(shown[i]));
    for (const u of charts.values()) {
      u.batch(() => { for (let k = 1; k <= 3; k += 1) u.setSeries(3 * i + k, { show: shown[i] }); });
    }
    const u = charts.get("bytes");
    u.setScale("x", { min: u.data[0][0], max: u.data[0].at(-1) });
  }

  function controls() {
    schemes.forEach((s, i) => {
      const button = element("button", { type: "button" }, element("i", { className: dotClass(s) }), s.name);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => toggle(i, button));
      byId("legend").append(button);
    });
    const switches = document.querySelectorAll("[data-scale]");
    switches.forEach((button) => button.addEventListener("click", () => {
      byteScale = button.dataset.scale;
      switches.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      drawBytes();
    }));
    const choices = document.querySelectorAll("[data-against]");
    choices.forEach((button) => button.addEventListener("click", () => {
      against = button.dataset.against;
      choices.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      byId("against").textContent = AGAINST[against].name;
      byId("against-what").textContent = AGAINST[against].long;
      drawBytes();
    }));
    byId("copy").addEventListener("click", async () => {
      const code = byId("command");
      try {
        await navigator.clipboard.writeText(code.textContent);
        byId("copy").textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
      }
    });
  }

  root.classList.add("js");
  controls();
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { root.dataset.print = ""; draw(); });
  addEventListener("afterprint", () => { delete root.dataset.print; draw(); });
  new ResizeObserver(() => {
    for (const [id, u] of charts) {
      const width = widthOf(byId(id));
      if (width !== u.width) u.setSize({ width, height: u.height });
    }
  }).observe(document.querySelector("main"));
})();

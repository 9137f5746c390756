"use strict";
// Figures open in a dialog: pictures at their full size, points of a scatter plot with their images, images of the cells
// of a matrix, and surfaces that turn. Text from files is set as text, never as markup.
{
  const dialog = document.getElementById("explorer");
  const heading = dialog.querySelector("h2");
  const stage = dialog.querySelector(".stage");
  const ratio = Math.min(devicePixelRatio || 1, 2);

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const open = (title, ...content) => {
    heading.textContent = title;
    stage.replaceChildren(...content);
    if (!dialog.open) dialog.showModal();
    stage.scrollTop = stage.scrollLeft = 0;
  };
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => stage.replaceChildren());

  // An image of a sprite as a canvas. Redrawn when the sprite has been decoded.
  const loaded = (sprite) => {
    const image = new Image();
    image.src = sprite.uri;
    return image;
  };
  const draw = (context, image, sprite, i, x, y, width, height) =>
    context.drawImage(image, (i % sprite.across) * sprite.width, Math.floor(i / sprite.across) * sprite.height,
      sprite.width, sprite.height, x, y, width, height);
  const tile = (image, sprite, i, size, label) => {
    const scale = size / Math.max(sprite.width, sprite.height);
    const canvas = make("canvas", { width: Math.round(sprite.width * scale * ratio), height: Math.round(sprite.height * scale * ratio) });
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    const context = canvas.getContext("2d");
    const paint = () => {
      context.imageSmoothingEnabled = scale * ratio < 2;
      draw(context, image, sprite, i, 0, 0, canvas.width, canvas.height);
    };
    image.decode().then(paint, () => {});
    return canvas;
  };
  // A canvas as large as its place, which is drawn again when that changes.
  const fitted = (className, label, paint) => {
    const canvas = make("canvas", { className, tabIndex: 0 });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", label);
    const context = canvas.getContext("2d");
    const redraw = () => {
      if (!canvas.clientWidth) return;
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      paint(context, canvas.clientWidth, canvas.clientHeight);
    };
    new ResizeObserver(redraw).observe(canvas);
    return { canvas, redraw };
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const place = (event, canvas) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  // ---- scatter plots
  const exploreScatter = (title, data) => {
    const n = data.x.length, sprite = data.sprite, image = sprite && loaded(sprite);
    const hidden = new Set(), order = [...Array(n).keys()];
    let chosen = -1, selection = [], lasso = null, under = -1, view = null, thumbs = Boolean(sprite);
    const name = (i) => data.names[i] || `point ${i + 1}`;
    const group = (i) => (data.groups.length ? data.groupNames[data.groups[i]] : "");
    const tint = (i) => data.colours[data.groups.length ? data.groups[i] : 0];
    const shown = (i) => !hidden.has(data.groups[i]);
    const high = [Math.max(...data.x), Math.max(...data.y)];
    const start = (width, height) => {
      const scale = Math.min((width - 60) / Math.max(1, high[0]), (height - 60) / Math.max(1, high[1]));
      return { scale, left: (width - high[0] * scale) / 2, bottom: (height + high[1] * scale) / 2 };
    };
    const at = (i) => [view.left + data.x[i] * view.scale, view.bottom - data.y[i] * view.scale];
    const { canvas, redraw } = fitted("plot", `${title}: arrow keys step through the points`, (context, width, height) => {
      view ||= start(width, height);
      const near = chosen < 0 ? [] : data.neighbours ? data.neighbours[chosen] : linked(chosen);
      const marked = new Set([...selection, ...near, chosen]);
      const some = marked.size > 1;  // the point that is chosen, or -1, is always among them
      for (const i of some ? [...order.filter((i) => !marked.has(i)), ...order.filter((i) => marked.has(i))] : order) {
        if (!shown(i)) continue;
        const [x, y] = at(i);
        context.globalAlpha = some && !marked.has(i) ? 0.15 : 1;
        if (thumbs && i < sprite.n && image.complete) {
          const size = 26, factor = size / Math.max(sprite.width, sprite.height);
          draw(context, image, sprite, i, x - size / 2, y - size / 2, sprite.width * factor, sprite.height * factor);
          context.strokeStyle = tint(i);
          context.lineWidth = 1.5;
          context.strokeRect(x - size / 2, y - size / 2, sprite.width * factor, sprite.height * factor);
        } else {
          context.fillStyle = tint(i);
          context.beginPath();
          context.arc(x, y, n > 2000 ? 2.5 : 4, 0, 7);
          context.fill();
        }
      }
      context.strokeStyle = colour("--ink");
      context.lineWidth = 1;
      for (const [first, second] of data.links || []) {
        if (!shown(first) || !shown(second)) continue;
        context.globalAlpha = !some || marked.has(first) || marked.has(second) ? 0.6 : 0.15;
        context.beginPath();
        context.moveTo(...at(first));
        context.lineTo(...at(second));
        context.stroke();
      }
      context.globalAlpha = 1;
      for (const other of near) {
        context.beginPath();
        context.moveTo(...at(chosen));
        context.lineTo(...at(other));
        context.stroke();
      }
      for (const i of [under, chosen]) {
        if (i < 0) continue;
        context.lineWidth = i === chosen ? 3 : 1.5;
        context.beginPath();
        context.arc(...at(i), thumbs ? 19 : 8, 0, 7);
        context.stroke();
      }
      if (lasso) {
        context.setLineDash([5, 4]);
        context.beginPath();
        lasso.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.closePath();
        context.stroke();
        context.setLineDash([]);
      }
    });
    image?.decode().then(redraw, () => {});
    const nearest = ([px, py]) => {
      let best = -1, least = 20 ** 2;
      for (let i = 0; i < n; i++) {
        if (!shown(i)) continue;
        const [x, y] = at(i), distance = (x - px) ** 2 + (y - py) ** 2;
        if (distance < least) [best, least] = [i, distance];
      }
      return best;
    };
    const inside = ([x, y], polygon) => {
      let odd = false;
      polygon.forEach(([ax, ay], k) => {
        const [bx, by] = polygon[(k || polygon.length) - 1];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      });
      return odd;
    };

    const detail = make("div", { className: "detail" });
    detail.setAttribute("aria-live", "polite");
    const button = (i, size) => {
      const picture = sprite && i < sprite.n ? tile(image, sprite, i, size, name(i)) : make("span", { textContent: name(i) });
      const element = make("button", { type: "button", className: "point", title: `${name(i)} ${group(i)}` }, picture);
      element.style.borderColor = tint(i);
      element.addEventListener("click", () => choose(i));
      return element;
    };
    const several = (heading, points, size) => [
      make("h3", { textContent: heading }),
      make("div", { className: "points" }, ...points.slice(0, 120).map((i) => button(i, size))),
      ...(points.length > 120 ? [make("p", { className: "note", textContent: `The first 120 of ${points.length.toLocaleString("en")}.` })] : []),
    ];
    const linked = (i) => (data.links || []).filter((pair) => pair.includes(i)).map(([a, b]) => (a === i ? b : a));
    const choose = (i) => {
      [chosen, selection] = [i, []];
      detail.replaceChildren(...(i < 0 ? [] : [
        ...(sprite && i < sprite.n ? [tile(image, sprite, i, 224, name(i))] : []),
        make("p", {}, make("b", { textContent: name(i) }), make("br"), group(i)),
        ...(linked(i).length ? several("Joined by a line", linked(i), 112) : []),
        ...(data.neighbours ? several("Most similar images, by their features", data.neighbours[i], 52) : []),
      ]));
      redraw();
    };
    const select = (points) => {
      [chosen, selection] = [-1, points];
      const groups = new Map();
      points.forEach((i) => groups.set(group(i), (groups.get(group(i)) || 0) + 1));
      const counts = [...groups].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${label || "points"} ${count}`);
      detail.replaceChildren(
        ...(points.length ? [...several(`${points.length.toLocaleString("en")} selected`, points, 52),
          make("p", { className: "note", textContent: counts.slice(0, 12).join(", ") })]
          : [make("p", { className: "note", textContent: "No point is selected." })]));
      redraw();
    };

    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = place(event, canvas);
      lasso = event.shiftKey ? null : [from];
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = place(event, canvas);
      if (from && event.shiftKey) {
        view.left += here[0] - from[0];
        view.bottom += here[1] - from[1];
        from = here;
      } else if (lasso) lasso.push(here);
      else {
        const found = nearest(here);
        if (found === under) return;
        under = found;
        canvas.title = found < 0 ? "" : `${name(found)} ${group(found)}`;
      }
      redraw();
    });
    canvas.addEventListener("pointerleave", () => { under = -1; redraw(); });
    canvas.addEventListener("pointerup", (event) => {
      const path = lasso;
      from = lasso = null;
      if (!path) return;
      const [x, y] = place(event, canvas);
      if (path.every(([px, py]) => Math.abs(px - x) + Math.abs(py - y) < 8)) choose(nearest([x, y]));
      else select(order.filter((i) => shown(i) && inside(at(i), path)));
    });
    const zoom = (factor, [x, y]) => {
      view.left = x - (x - view.left) * factor;
      view.bottom = y - (y - view.bottom) * factor;
      view.scale *= factor;
      redraw();
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), place(event, canvas));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) choose((chosen + step + n) % n);
      else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.25 : 0.8, [canvas.clientWidth / 2, canvas.clientHeight / 2]);
      else return;
      event.preventDefault();
    });

    const search = make("input", { type: "search", placeholder: "Search names and classes" });
    search.setAttribute("aria-label", "Search names and classes");
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase();
      select(words ? order.filter((i) => `${name(i)} ${group(i)}`.toLowerCase().includes(words)) : []);
    });
    const tools = make("div", { className: "tools" }, search);
    const check = (text, value, change, tinted) => {
      const box = make("input", { type: "checkbox", checked: value });
      if (tinted) box.style.accentColor = tinted;
      box.addEventListener("change", () => { change(box.checked); redraw(); });
      return make("label", {}, box, text);
    };
    if (sprite) tools.append(check("images", true, (on) => (thumbs = on)));
    const reset = make("button", { type: "button", textContent: "Whole plot" });
    reset.addEventListener("click", () => { view = null; redraw(); });
    tools.append(reset);
    const legend = make("div", { className: "legend" });
    if (data.groups.length) data.groupNames.forEach((label, g) =>
      legend.append(check(label, true, (on) => (on ? hidden.delete(g) : hidden.add(g)), data.colours[g])));
    detail.append(make("p", { className: "note", textContent: "Click a point for its image and the most similar ones. Draw around points to select them. The wheel zooms, Shift and dragging move the plot." }));
    open(title, make("div", { className: "explore" }, canvas, make("div", { className: "side" }, tools, legend, detail)));
    redraw();
  };

  // ---- matrices
  const showCell = (title, data, row, column) => {
    const image = loaded(data.sprite), count = data.counts[row][column];
    const members = data.cells.flatMap(([r, c], i) => (r === row && c === column && i < data.sprite.n ? [i] : []));
    const words = `${data.rowTitle || "row"} ${data.rows[row]}, ${data.columnTitle || "column"} ${data.columns[column]}: ${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
    open(title,
      make("p", { textContent: members.length < count && members.length ? `${words}, of which ${members.length} ${members.length === 1 ? "is" : "are"} shown` : words }),
      make("div", { className: "images" }, ...members.map((i) =>
        make("figure", {}, tile(image, data.sprite, i, 128, data.labels[i]), make("figcaption", { textContent: data.labels[i] })))));
  };
  const exploreMatrix = (figure, title, data) => {
    const cells = figure.querySelector("svg image") || figure.querySelector("svg");
    const picture = figure.querySelector("svg");
    const cell = (event) => {
      const box = cells.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * data.rows.length);
      const column = Math.floor(((event.clientX - box.left) / box.width) * data.columns.length);
      const within = row >= 0 && column >= 0 && row < data.rows.length && column < data.columns.length;
      return within && data.counts[row][column] ? [row, column] : null;
    };
    picture.addEventListener("mousemove", (event) => (picture.style.cursor = cell(event) ? "pointer" : ""));
    picture.addEventListener("click", (event) => {
      const found = cell(event);
      if (found) showCell(title, data, ...found);
    });
    const pairs = data.counts.flatMap((row, r) => row.map((count, c) => [count, r, c])).filter(([count, r, c]) => count && r !== c);
    pairs.sort((a, b) => b[0] - a[0]);
    const list = make("p", { className: "pairs" }, "Images of a cell: click it, or ");
    pairs.slice(0, 8).forEach(([count, r, c]) => {
      const button = make("button", { type: "button", textContent: `${data.rows[r]} → ${data.columns[c]} (${count})` });
      button.addEventListener("click", () => showCell(title, data, r, c));
      list.append(button, " ");
    });
    if (pairs.length) figure.querySelector("figcaption").after(list);
  };

  // ---- surfaces
  const exploreSurface = (title, data) => {
    const [nx, ny] = [data.x.length, data.y.length];
    const finite = data.z.flat().filter((value) => value !== null);
    const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
    const spread = high - low || 1, last = data.colours.length - 1;
    const unit = (values) => values.map((value) => (2 * (value - values[0])) / (values[values.length - 1] - values[0]) - 1);
    const [ux, uy] = [unit(data.x), unit(data.y)];
    const lift = (value) => (1.3 * (value - low)) / spread - 0.65;
    const shade = (value) => {
      const [r, g, b] = data.colours[Math.round(((value - low) / spread) * last)];
      return `rgb(${r} ${g} ${b})`;
    };
    const text = (value) => Number((data.log ? 10 ** value : value).toPrecision(3)).toString();
    let turn = -0.98, tilt = 0.56, pointer = null;
    const readout = make("p", { className: "note readout", textContent: "Drag to turn, or use the arrow keys." });
    const { canvas, redraw } = fitted("plot", `${title}: arrow keys turn the surface`, (context, width, height) => {
      const panels = data.z.length, panel = width / panels, size = Math.min(panel * 0.28, height * 0.27);
      const [ct, st, cu, su] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
      let nearest = null, least = 24 ** 2;
      for (let k = 0; k < panels; k++) {
        const project = (x, y, z) => {
          const across = x * ct + y * -st, along = x * st + y * ct;
          return [panel * (k + 0.5) + across * size * 1.15, height / 2 - (z * cu + along * su) * size * 1.15, along * cu - z * su];
        };
        const z = data.z[k];
        const points = z.map((value, i) => (value === null ? null : project(ux[i % nx], uy[Math.floor(i / nx)], lift(value))));
        context.strokeStyle = colour("--line");
        context.lineWidth = 1;
        context.beginPath();
        [[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]].forEach(([x, y], c) => context[c ? "lineTo" : "moveTo"](...project(x, y, -0.65).slice(0, 2)));
        context.stroke();
        const facets = [];
        for (let j = 0; j + 1 < ny; j++) for (let i = 0; i + 1 < nx; i++) {
          const corners = [j * nx + i, j * nx + i + 1, (j + 1) * nx + i + 1, (j + 1) * nx + i];
          if (corners.some((c) => points[c] === null)) continue;
          facets.push([corners.reduce((sum, c) => sum + points[c][2], 0), corners.reduce((sum, c) => sum + z[c], 0) / 4, corners]);
        }
        facets.sort((a, b) => b[0] - a[0]);
        for (const [, value, corners] of facets) {
          context.beginPath();
          corners.forEach((c, m) => context[m ? "lineTo" : "moveTo"](points[c][0], points[c][1]));
          context.closePath();
          context.fillStyle = context.strokeStyle = shade(value);
          context.lineWidth = 0.7;
          context.fill();
          context.stroke();
          if (nx * ny <= 2000) {
            context.strokeStyle = "rgb(255 255 255 / 0.28)";
            context.stroke();
          }
        }
        const spot = (x, y) => {
          const i = data.x.reduce((b, v, m) => (Math.abs(v - x) < Math.abs(data.x[b] - x) ? m : b), 0);
          const j = data.y.reduce((b, v, m) => (Math.abs(v - y) < Math.abs(data.y[b] - y) ? m : b), 0);
          return points[j * nx + i];
        };
        if (k === 0 && data.path.length) {
          context.strokeStyle = "#d55e00";
          context.lineWidth = 2.5;
          context.beginPath();
          data.path.map(([x, y]) => spot(x, y)).filter(Boolean).forEach((point, m) => context[m ? "lineTo" : "moveTo"](point[0], point[1]));
          context.stroke();
        }
        const centre = data.centre && spot(0, 0);
        if (centre) {
          context.fillStyle = "#d55e00";
          context.beginPath();
          context.arc(centre[0], centre[1], 4, 0, 7);
          context.fill();
        }
        context.fillStyle = colour("--muted");
        context.font = `13px ${getComputedStyle(canvas).fontFamily}`;
        context.textAlign = "center";
        const name = (words, ...where) => {
          const [x, y] = project(...where);
          context.fillText(words, x, y + 18, panel * 0.45);
        };
        name(data.labels[0], 0, -1.12, -0.65);
        name(data.labels[1], 1.12, 0, -0.65);
        if (data.names[k]) {
          context.fillStyle = colour("--ink");
          context.fillText(data.names[k], panel * (k + 0.5), 22, panel - 20);
        }
        if (pointer) points.forEach((point, i) => {
          if (!point) return;
          const distance = (point[0] - pointer[0]) ** 2 + (point[1] - pointer[1]) ** 2 + Math.max(0, point[2]) * 40;
          if (distance < least) [nearest, least] = [[k, i, point], distance];
        });
      }
      if (nearest) {
        const [k, i, point] = nearest;
        context.strokeStyle = colour("--ink");
        context.lineWidth = 1.5;
        context.beginPath();
        context.arc(point[0], point[1], 5, 0, 7);
        context.stroke();
        readout.textContent = `${data.names[k] ? `${data.names[k]}: ` : ""}${data.labels[2]} ${text(data.z[k][i])} at (${data.x[i % nx]}, ${data.y[Math.floor(i / nx)]})`;
      }
    });
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = place(event, canvas);
    });
    canvas.addEventListener("pointerup", () => (from = null));
    canvas.addEventListener("pointermove", (event) => {
      const here = place(event, canvas);
      if (from) {
        turn += (here[0] - from[0]) / 150;
        tilt = Math.max(0.05, Math.min(1.5, tilt + (here[1] - from[1]) / 200));
        from = here;
      }
      pointer = from ? null : here;
      redraw();
    });
    canvas.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      turn += { ArrowLeft: -0.1, ArrowRight: 0.1 }[event.key] || 0;
      tilt = Math.max(0.05, Math.min(1.5, tilt + ({ ArrowUp: 0.1, ArrowDown: -0.1 }[event.key] || 0)));
      redraw();
    });
    const scale = make("p", { className: "scale" }, text(low), make("span"), text(high), ` ${data.labels[2]}${data.log ? ", logarithmic" : ""}`);
    scale.querySelector("span").style.background = `linear-gradient(to right, ${data.colours.map(([r, g, b]) => `rgb(${r} ${g} ${b})`).join(", ")})`;
    open(title, canvas, scale, readout);
    redraw();
  };

  const enlarge = (title, picture) => {
    const copy = picture.cloneNode(true);
    copy.removeAttribute("style");
    const width = picture.naturalWidth || Math.max(picture.viewBox.baseVal.width * 2.2, 900);
    copy.style.cssText = `width: ${width}px; max-width: none; max-height: none`;
    open(title, make("div", { className: "enlarged" }, copy));
  };
  for (const figure of document.querySelectorAll("main figure")) {
    const picture = figure.querySelector("picture img, svg.figure");
    if (!picture) continue;
    const title = figure.querySelector("h3 .title").textContent;
    const data = figure.dataset.explore && JSON.parse(figure.dataset.explore);
    const caption = figure.querySelector("figcaption");
    const action = (words, act) => {
      const button = make("button", { type: "button", className: "data", textContent: words });
      button.setAttribute("aria-label", `${words}: ${title}`);
      button.addEventListener("click", act);
      caption.append(" ", button);
    };
    if (data?.kind === "scatter") action("Explore", () => exploreScatter(title, data));
    if (data?.kind === "surface") action("Turn", () => exploreSurface(title, data));
    if (data?.kind === "matrix") exploreMatrix(figure, title, data);
    else {
      picture.classList.add("opens");
      picture.addEventListener("click", () =>
        data?.kind === "scatter" ? exploreScatter(title, data) : data?.kind === "surface" ? exploreSurface(title, data) : enlarge(title, picture));
    }
    action("Enlarge", () => enlarge(title, picture));
  }
}

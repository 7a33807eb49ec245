// Strokes over a picture: pointer, finger or pen. They are kept as lines in pixels of the picture, so
// that undo takes one away and the mask is as sharp as the picture.
const STRIPES = ["#343a8c", "#ffffff"]; // one of them shows on every picture
const STRIPE = 6; // pixels of the canvas
const MIN_MOVE = 2; // pixels of the picture between two points
const SEND_SIDE = 2048; // pixels of the mask's longer side at most

function stripes(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 4 * STRIPE;
  const pen = tile.getContext("2d");
  for (let n = -4; n < 8; n += 1) {
    pen.fillStyle = STRIPES[n & 1];
    pen.beginPath();
    for (const [x, y] of [[n, 0], [n + 1, 0], [n + 5, 4], [n + 4, 4]]) pen.lineTo(x * STRIPE, y * STRIPE);
    pen.fill();
  }
  return context.createPattern(tile, "repeat");
}

function paint(context, strokes, colour) {
  context.lineCap = context.lineJoin = "round";
  for (const { size, erases, points } of strokes) {
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = size;
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point); // the first again: a dot has a length of zero
    context.stroke();
  }
}

function extend({ points }, point) {
  const [x, y] = points.at(-1);
  if (Math.hypot(point[0] - x, point[1] - y) >= MIN_MOVE) points.push(point);
}

// White on black, as the service reads it.
function maskOf(strokes, width, height) {
  const scale = Math.min(1, SEND_SIDE / Math.max(width, height));
  const drawn = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  const context = drawn.getContext("2d");
  context.scale(scale, scale);
  paint(context, strokes, "#fff");
  const whole = document.createElement("canvas");
  [whole.width, whole.height] = [drawn.width, drawn.height];
  const paper = whole.getContext("2d");
  paper.fillRect(0, 0, whole.width, whole.height);
  paper.drawImage(drawn, 0, 0);
  return whole.toDataURL("image/png");
}

function isPainted(strokes) {
  return strokes.some((stroke) => !stroke.erases);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const find = (name) => parentElement.querySelector(name);
  const [easel, canvas, range, dot] = [".easel", "canvas", "input", ".dot"].map(find);
  const [undo, clear, eraser, use] = [".undo", ".clear", ".eraser", ".use"].map(find);
  const { width, height } = data;
  const strokes = (parentElement.strokes ??= [...data.strokes]); // outlives a run of the script
  const pattern = stripes(canvas.getContext("2d"));
  let stroke = null;
  let erases = false;

  const shown = Math.min(1, 1024 / Math.max(width, height));
  [canvas.width, canvas.height] = [Math.round(width * shown), Math.round(height * shown)];
  easel.style.setProperty("--ratio", width / height);
  find("img").src = data.picture;
  const [x, y] = data.cut; // shares of width and height that are cut off on either side
  for (const name of [".before", ".after"]) {
    const { style } = find(name);
    [style.width, style.height] = [x ? `${x * 100}%` : "100%", y ? `${y * 100}%` : "100%"];
    find(name).hidden = !x && !y;
  }

  const size = () => (range.value / 100) * Math.min(width, height);
  function draw() {
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.scale(shown, shown);
    paint(context, strokes, pattern);
    undo.disabled = clear.disabled = !strokes.length;
    use.disabled = !isPainted(strokes);
  }
  function at(event) {
    const { left, top, width: wide, height: high } = canvas.getBoundingClientRect();
    return [((event.clientX - left) / wide) * width, ((event.clientY - top) / high) * height].map(Math.round);
  }
  function follow(event) {
    const box = canvas.getBoundingClientRect();
    const across = `${(size() / width) * box.width}px`;
    Object.assign(dot.style, {
      left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px`, width: across, height: across,
    });
    dot.hidden = false;
  }
  function onDown(event) {
    if (!event.isPrimary || event.button > 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    stroke = { size: size(), erases, points: [at(event)] };
    strokes.push(stroke);
    follow(event);
    draw();
  }
  function onMove(event) {
    if (event.isPrimary) follow(event);
    if (!stroke || !event.isPrimary) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) extend(stroke, at(one));
    draw();
  }
  function onUp(event) {
    stroke = null;
    if (event.pointerType === "touch") dot.hidden = true;
  }
  const hide = () => { dot.hidden = true; };
  function onUndo() {
    strokes.pop();
    draw();
  }
  function onClear() {
    strokes.length = 0;
    draw();
  }
  function onEraser() {
    erases = !erases;
    eraser.setAttribute("aria-pressed", erases);
  }
  function onUse() {
    use.disabled = true;
    setTriggerValue("drawn", { mask: maskOf(strokes, width, height), strokes });
  }
  const listeners = [
    [canvas, "pointerdown", onDown], [canvas, "pointermove", onMove], [canvas, "pointerup", onUp],
    [canvas, "pointercancel", onUp], [canvas, "pointerleave", hide],
    [undo, "click", onUndo], [clear, "click", onClear], [eraser, "click", onEraser], [use, "click", onUse],
  ];
  for (const [target, name, listener] of listeners) target.addEventListener(name, listener);
  draw();
  return () => {
    for (const [target, name, listener] of listeners) target.removeEventListener(name, listener);
  };
}

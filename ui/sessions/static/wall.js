// The wall: prints on a grid. New pictures come at once and stay where they formed; older ones take turns.
import { Stream, byId, make, pictureUrl, query } from "./{{common.js}}";

const TURN_MS = 7_000; // an older picture makes room for another
const HOLD_MS = 5_000; // a finished picture stays large for so long
const STAR_MS = 14_000; // highlighted ones take turns at being large
const FADE_MS = 700;
const GAP = 0.9; // rem
const CAPTION = 3.9; // rem, below a print
const EDGES = 1.1; // rem, of a card around its print
const BIG = { caption: 6.2, edges: 1.8 };

const code = query.get("code") ?? "";
const stage = byId("stage");
const tiles = new Map(); // id -> its element
const places = new Map(); // id -> number of its cell
const seen = new Map(); // id -> when it was last put up
let state = null;
let hero = null; // the id that is large because it forms or has just been finished
let heroDone = 0;
let star = null;
let starSince = 0;

if (["light", "dark"].includes(query.get("theme"))) document.documentElement.dataset.theme = query.get("theme");

function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

// The grid with the largest prints that has room for what there is to show.
function grid(wanted, bigs) {
  const unit = rem();
  const [gap, caption, edges] = [GAP * unit, CAPTION * unit, EDGES * unit];
  const { clientWidth: width, clientHeight: height } = stage;
  let best = null;
  for (let columns = 2; columns <= 9; columns += 1) {
    for (let rows = 2; rows <= 9; rows += 1) {
      const cells = columns * rows - 4 * bigs;
      const cellWidth = (width - gap * (columns - 1)) / columns;
      const cellHeight = (height - gap * (rows - 1)) / rows;
      const side = Math.min(cellWidth - edges, cellHeight - caption - edges / 2);
      const fits = cells >= wanted && columns >= 2 * bigs;
      if (side > 0 && fits && (!best || side > best.side)) best = { columns, rows, side, gap, caption, edges };
    }
  }
  return best;
}

function placesIn(found, bigs) {
  const { columns, rows, side, gap, caption, edges } = found;
  const [width, height] = [side + edges, side + caption + edges / 2];
  const left = (stage.clientWidth - columns * width - (columns - 1) * gap) / 2;
  const top = (stage.clientHeight - rows * height - (rows - 1) * gap) / 2;
  const at = (column, row, span) => ({
    x: left + column * (width + gap),
    y: top + row * (height + gap),
    width: width * span + gap * (span - 1),
    height: height * span + gap * (span - 1),
  });
  const large = Array.from({ length: bigs }, (_, number) => at(2 * number, 0, 2));
  const small = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      if (row > 1 || column >= 2 * bigs) small.push(at(column, row, 1));
    }
  }
  return { large, small };
}

function chooseHero(items) {
  const now = Date.now();
  const current = items.get(hero);
  const forming = state.forming.filter((item) => item.prompt !== undefined);
  if (current?.isForming) return;
  if (current && !heroDone) heroDone = now;
  if (current && (now - heroDone < HOLD_MS || !forming.length)) return;
  const next = forming.sort((a, b) => b.step / (b.steps || 1) - a.step / (a.steps || 1))[0];
  hero = next?.id ?? state.pictures[0]?.id ?? null;
  heroDone = next ? 0 : now;
}

function chooseStar() {
  const stars = state.pictures.filter((item) => item.large).map((item) => item.id);
  const index = stars.indexOf(star);
  if (index >= 0 && Date.now() - starSince < STAR_MS) return;
  star = stars.length ? stars[(index + 1) % stars.length] : null;
  starSince = Date.now();
}

// What is on the wall now: forming ones, the newest, and of the older ones those that are there already.
function choose(items, room, bigs) {
  const rest = [...items.values()].filter((item) => !bigs.includes(item.id));
  const forming = rest.filter((item) => item.isForming);
  const done = rest.filter((item) => !item.isForming);
  const newest = done.slice(0, Math.max(1, Math.ceil((room - forming.length) * 0.5)));
  const older = done.slice(newest.length);
  const there = older.filter((item) => places.has(item.id));
  const absent = older.filter((item) => !places.has(item.id));
  return [...forming, ...newest, ...there, ...absent].slice(0, room).map((item) => item.id);
}

// An older picture makes room for the one that has not been up for longest.
function takeTurns() {
  if (!state || document.hidden) return;
  const away = state.pictures.filter((item) => !tiles.has(item.id));
  const up = state.pictures.filter((item) => places.has(item.id));
  const older = up.slice(Math.ceil(up.length * 0.5));
  if (away.length && older.length) {
    const next = away.sort((a, b) => (seen.get(a.id) ?? 0) - (seen.get(b.id) ?? 0))[0];
    const gone = older[Math.floor(Math.random() * older.length)];
    places.set(next.id, places.get(gone.id));
    places.delete(gone.id);
  }
  draw();
}

function draw() {
  if (!state) return;
  const items = new Map(state.forming.map((item) => [item.id, { ...item, isForming: true }]));
  for (const item of state.pictures) items.set(item.id, item);
  byId("empty").hidden = items.size > 0;
  chooseHero(items);
  chooseStar();
  const bigs = [...new Set([hero, star])].filter((id) => items.has(id));
  const wanted = Math.min(items.size - bigs.length, bigs.length === 2 ? 12 : 15);
  const found = grid(wanted, bigs.length);
  if (!found) return;
  const { large, small } = placesIn(found, bigs.length);
  const shown = choose(items, small.length, bigs);
  settle(shown, small.length);
  for (const [number, id] of bigs.entries()) put(items.get(id), large[number], true);
  for (const id of shown) put(items.get(id), small[places.get(id)], false);
  for (const [id, tile] of tiles) if (!bigs.includes(id) && !shown.includes(id)) takeDown(id, tile);
}

// Everybody keeps their cell; newcomers take the free ones.
function settle(shown, count) {
  for (const [id, place] of places) if (!shown.includes(id) || place >= count) places.delete(id);
  const taken = new Set(places.values());
  const free = Array.from({ length: count }, (_, number) => number).filter((number) => !taken.has(number));
  for (const id of shown) if (!places.has(id)) places.set(id, free.shift());
}

function put(item, place, isBig) {
  let tile = tiles.get(item.id);
  if (!tile) {
    tile = newTile(item.id);
    tiles.set(item.id, tile);
    stage.append(tile);
    requestAnimationFrame(() => requestAnimationFrame(() => tile.classList.remove("away")));
  }
  seen.set(item.id, Date.now());
  const unit = rem();
  const { caption, edges } = isBig ? BIG : { caption: CAPTION, edges: EDGES };
  const side = Math.min(place.width - edges * unit, place.height - (caption + edges / 2) * unit);
  const width = side + edges * unit;
  tile.classList.toggle("big", isBig);
  tile.classList.toggle("star", Boolean(item.large));
  tile.classList.toggle("done", !item.isForming);
  tile.style.left = `${place.x + (place.width - width) / 2}px`;
  tile.style.top = `${place.y}px`;
  tile.style.width = `${width}px`;
  tile.style.height = `${place.height}px`;
  tile.print.style.width = tile.print.style.height = `${side}px`;
  tile.words.textContent = item.prompt ?? "A picture is forming";
  tile.by.textContent = item.by ?? "";
  tile.classList.toggle("own", isBig && Boolean(item.link));
  if (isBig && item.link) offer(tile, item);
  if (item.isForming) advance(tile, item);
  else finish(tile, item.id);
}

function newTile(id) {
  const tile = make("figure", "tile away");
  tile.dataset.id = id;
  tile.print = make("div", "print empty");
  tile.bar = make("i");
  tile.words = make("b");
  tile.by = make("span");
  const caption = make("figcaption");
  tile.link = make("small");
  tile.code = make("img", "code");
  tile.code.alt = "QR code of this picture";
  caption.append(tile.words, tile.by, tile.link, tile.code);
  tile.print.append(make("span", "mark"), tile.bar);
  tile.append(tile.print, caption);
  return tile;
}

function advance(tile, item) {
  tile.bar.style.width = `${item.steps ? (100 * item.step) / item.steps : 0}%`;
  if (item.preview && item.preview !== tile.shown) show(tile, item.preview);
}

function finish(tile, id) {
  const address = pictureUrl(code, id, "thumb");
  if (tile.shown !== address) show(tile, address);
}

// A large picture can be taken along: its own link, and a code that leads there.
function offer(tile, item) {
  if (tile.link.textContent === item.link) return;
  tile.link.textContent = item.link;
  tile.code.src = `s/qr?code=${encodeURIComponent(code)}&picture=${item.id}`;
}

// The next picture fades in over the last one.
function show(tile, address) {
  tile.shown = address;
  const image = new Image();
  image.alt = "";
  image.className = address.startsWith("data:") ? "rough" : "";
  image.onload = () => {
    if (tile.shown !== address) return;
    tile.print.insertBefore(image, tile.bar);
    requestAnimationFrame(() => requestAnimationFrame(() => image.classList.add("seen")));
    setTimeout(() => {
      tile.print.classList.remove("empty");
      for (const other of tile.print.querySelectorAll("img")) {
        if (other !== image && other.compareDocumentPosition(image) & 4) other.remove();
      }
    }, FADE_MS);
  };
  image.onerror = () => {
    if (tile.shown === address) tile.shown = ""; // the next look tries again
  };
  image.src = address;
}

function takeDown(id, tile) {
  tiles.delete(id);
  tile.classList.add("away");
  setTimeout(() => tile.remove(), FADE_MS);
}

function drawStrip() {
  byId("name").textContent = state.name;
  byId("theme").textContent = state.theme;
  byId("theme").hidden = !state.theme;
  byId("join").hidden = false;
  byId("how").textContent = state.ended ? "This session is over" : "Scan, or open";
  byId("link").textContent = state.ended ? "Thank you for coming." : state.link;
  byId("code").textContent = state.ended ? "" : state.code;
  byId("qr").hidden = state.ended;
  const qr = `s/qr?code=${encodeURIComponent(code)}&for=${encodeURIComponent(state.link)}`;
  if (byId("qr").getAttribute("src") !== qr) byId("qr").src = qr;
  drawQueue();
}

function drawQueue() {
  const queue = byId("queue");
  const forming = state.forming.length;
  const parts = [];
  if (state.ended) parts.push(`${plural(state.total, "picture")} by ${plural(state.people, "person", "people")}`);
  else if (state.paused) parts.push("Paused for a moment");
  else if (forming || state.waiting) parts.push(`${forming} forming`, `${state.waiting} waiting`);
  else parts.push("Ready for your idea");
  queue.textContent = parts.join(" · ");
  queue.className = state.ended || state.paused ? "still" : forming ? "busy" : "";
  queue.hidden = false;
}

function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

new Stream("wall", code, {
  state(told) {
    const previews = new Map((state?.forming ?? []).map((item) => [item.id, item.preview]));
    state = told;
    for (const item of state.forming) item.preview ??= previews.get(item.id);
    drawStrip();
    draw();
  },
  line(told) {
    if (!state) return;
    state.waiting = told.waiting;
    drawQueue();
  },
  progress(told) {
    const item = state?.forming.find((known) => known.id === told.id);
    if (!item) return;
    Object.assign(item, told);
    const tile = tiles.get(told.id);
    if (tile) advance(tile, item);
  },
});
setInterval(takeTurns, TURN_MS);
setInterval(draw, 1_000);
addEventListener("resize", draw);

// The guest's page: join, ask, watch, keep.
import { Stream, byId, make, pictureUrl, query } from "./{{common.js}}";

const code = (query.get("code") ?? "").replace(/[\s-]/g, "").toUpperCase();
const draft = `inkling-draft-${code}`;
const SHAPES = { "1:1": "Square", wide: "Wide", tall: "Tall" };
let state = null;
let stream = null;
let offset = 0; // the server's clock less ours, in ms
let busy = false;
let notice = null; // { text, until } of the last refusal
const cards = new Map();

function show(name) {
  for (const id of ["enter", "welcome", "room"]) byId(id).hidden = id !== name;
}

function stored(write) {
  try {
    if (write === undefined) return localStorage.getItem(draft) ?? "";
    localStorage.setItem(draft, write);
  } catch {
    // private windows may have no storage
  }
  return "";
}

async function post(path, body) {
  let answer;
  try {
    answer = await fetch(`s/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code, ...body }),
    });
    return { ok: answer.ok, ...(await answer.json()) };
  } catch {
    return { ok: false, code: "network", text: "That did not get through. Try again." };
  }
}

// Joining

function welcome() {
  byId("welcome-name").textContent = state.name;
  byId("welcome-theme").textContent = state.theme;
  byId("welcome-theme").hidden = !state.theme;
  byId("moderated").hidden = !state.moderated;
  document.title = `${state.name} · Inkling`;
  byId("join").disabled = state.ended;
  byId("join").textContent = state.ended ? "This session is over" : "Join";
  show("welcome");
}

byId("join-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy || !state) return;
  busy = true;
  const answer = await post("join", {
    nickname: byId("nickname").value,
    consents: byId("consents").checked,
    invitation: state.invitation,
  });
  busy = false;
  byId("join-error").textContent = answer.text ?? "";
  byId("join-error").hidden = answer.ok;
  stream.open(); // known now, or with a fresh invitation
});

// The room

function enter() {
  document.title = `${state.name} · Inkling`;
  byId("room-name").textContent = state.name;
  byId("room-theme").textContent = state.theme;
  byId("me").textContent = state.nickname;
  if (byId("room").hidden) byId("prompt").value ||= stored();
  show("room");
  drawChoices();
  drawPictures();
  drawComposer();
}

function drawChoices() {
  const sizes = state.sizes.length > 1 ? state.sizes : [];
  choices("sizes", sizes.map((size) => [size, shape(size, sizes)]));
  const most = Math.min(state.count, 4);
  const counts = Array.from({ length: most > 1 ? most : 0 }, (_, index) => index + 1);
  choices("counts", counts.map((count) => [String(count), `${count} picture${count > 1 ? "s" : ""}`]));
}

function shape(size, sizes) {
  const [width, height] = size.split("x").map(Number);
  const name = width === height ? "1:1" : width > height ? "wide" : "tall";
  const alike = sizes.filter((other) => {
    const [w, h] = other.split("x").map(Number);
    return Math.sign(w - h) === Math.sign(width - height);
  });
  return alike.length > 1 ? `${width} × ${height}` : SHAPES[name];
}

function choices(id, options) {
  const box = byId(id);
  const key = JSON.stringify(options);
  box.hidden = options.length === 0;
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(
    ...options.map(([value, text], index) => {
      const label = make("label");
      const input = make("input");
      Object.assign(input, { type: "radio", name: id, value, checked: index === 0 });
      label.append(input, make("span", "", text));
      return label;
    }),
  );
}

function chosen(id) {
  return document.querySelector(`#${id} input:checked`)?.value;
}

function drawComposer() {
  const told = byId("told");
  const ask = byId("ask");
  const [text, blocked, label] = composerWords();
  told.textContent = text;
  told.className = blocked || notice ? "loud" : "";
  ask.disabled = Boolean(blocked) || busy;
  ask.textContent = label ?? "Make it";
  byId("prompt").hidden = state.ended || state.removed;
  byId("composer").hidden = state.ended && !state.pictures.length;
}

// What is said above the button, whether it is blocked, and what the button says.
function composerWords() {
  if (state.ended) return ["This session is over. Your pictures stay here for a while.", true, "Thank you for coming"];
  if (state.removed) return ["The host has taken you off this session.", true];
  if (state.paused) return ["The host has paused for a moment. Your prompt is kept.", true, "Paused"];
  if (state.left < 1) return limitWords();
  if (state.line.full) return ["The queue is full. Your prompt is kept: try again in a moment.", true, "Queue is full"];
  if (notice) return [notice, false];
  return [`${waitWords(state.line)}${leftWords()}`, false];
}

function limitWords() {
  const made = state.allowance === 1 ? "That was your picture." : `Those were your ${state.allowance} pictures.`;
  const at = state.free_at - offset;
  if (state.free_at >= state.ends_at) return [`${made} The limit holds until the end at ${clock(at)}.`, true, "Limit reached"];
  return [`${made} The next one is possible at ${clock(at)}.`, true, `Again in ${duration((at - Date.now()) / 1000)}`];
}

function leftWords() {
  return state.left < 100 ? ` · ${state.left} left` : "";
}

function waitWords(line) {
  const before = line.before === 0 ? "you are next" : `${line.before} before you`;
  return line.seconds === null ? cap(before) : `About ${duration(line.seconds)}, ${before}`;
}

function cap(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 100) return `${whole < 20 ? whole : Math.round(whole / 5) * 5}\u00a0s`;
  return `${Math.round(whole / 60)}\u00a0min`;
}

function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = byId("prompt");
  if (busy || !state) return;
  if (!prompt.value.trim()) return prompt.focus();
  busy = true;
  notice = null;
  drawComposer();
  const asked = prompt.value;
  const answer = await post("ask", { prompt: asked, size: chosen("sizes") ?? "", count: Number(chosen("counts") ?? 1) });
  busy = false;
  if (answer.ok) {
    if (prompt.value === asked) prompt.value = "";
    stored("");
    prompt.blur();
    scrollTo({ top: 0 });
  } else {
    notice = answer.text;
  }
  drawComposer();
});

byId("prompt").addEventListener("input", () => {
  notice = null;
  stored(byId("prompt").value);
  if (state) drawComposer();
});
byId("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("composer").requestSubmit();
  }
});

// My pictures

function drawPictures() {
  const shown = state.pictures.filter((picture) => picture.state !== "cancelled");
  const active = shown.filter(isActive).reverse(); // the next to be made first
  const ordered = [...active, ...shown.filter((picture) => !isActive(picture))];
  byId("none").hidden = shown.length > 0;
  byId("pictures").hidden = shown.length === 0;
  const ids = new Set(ordered.map((picture) => picture.id));
  for (const [id, card] of cards) if (!ids.has(id)) (card.remove(), cards.delete(id));
  ordered.forEach((picture, index) => {
    let card = cards.get(picture.id);
    if (!card) cards.set(picture.id, (card = newCard(picture)));
    drawCard(card, picture);
    const there = byId("pictures").children[index];
    if (there !== card) byId("pictures").insertBefore(card, there ?? null);
  });
}

const isActive = (picture) => picture.state === "waiting" || picture.state === "running";

function newCard(picture) {
  const card = make("article", "card");
  card.print = make("button", "print");
  card.print.type = "button";
  card.image = make("img");
  card.image.hidden = true;
  card.bar = make("i");
  card.print.append(make("span", "mark"), card.image, card.bar);
  card.prompt = make("p");
  card.note = make("small");
  card.button = make("button");
  card.button.type = "button";
  const words = make("div", "words");
  words.append(card.prompt, card.note, card.button);
  card.append(card.print, words);
  card.print.addEventListener("click", () => card.picture.state === "made" && view(card.picture));
  card.button.addEventListener("click", () => act(card.picture));
  card.image.addEventListener("load", () => (card.image.hidden = false));
  return card;
}

function drawCard(card, picture) {
  card.picture = picture;
  const made = picture.state === "made";
  card.classList.toggle("now", !made);
  card.print.disabled = !made;
  card.print.setAttribute("aria-label", made ? `Open: ${picture.prompt}` : "Forming");
  card.prompt.textContent = picture.prompt;
  card.note.textContent = noteOf(picture);
  card.button.textContent = picture.state === "waiting" || picture.state === "running" ? "Cancel" : "Use prompt again";
  card.button.hidden = made;
  card.bar.style.width = picture.state === "running" && picture.steps ? `${(100 * picture.step) / picture.steps}%` : "0";
  const source = made ? pictureUrl(code, picture.id, "thumb") : picture.preview;
  if (source && card.image.getAttribute("src") !== source) card.image.src = source;
  card.print.hidden = ["failed", "withheld"].includes(picture.state);
  card.image.alt = made ? picture.prompt : "";
}

function noteOf(picture) {
  switch (picture.state) {
    case "waiting":
      return placeWords(picture.id);
    case "running":
      return picture.steps ? `Step ${picture.step} of ${picture.steps}` : "It is your turn";
    case "withheld":
      return "The safety check kept this picture back. Nobody sees it. Try other words.";
    case "failed":
      return picture.error;
    default:
      return wallWords(picture);
  }
}

function placeWords(id) {
  const before = state.line.places[id];
  if (before === undefined) return "In the queue";
  const each = state.line.each;
  const wait = each === null ? "" : `, about ${duration((before + 1) * each)}`;
  return before === 0 ? `Next in line${wait}` : `${before} before you${wait}`;
}

function wallWords(picture) {
  if (!state.consents || picture.hidden) return "Only you and the host see it";
  return picture.wall ? "On the wall" : "Waits for the host";
}

async function act(picture) {
  if (isActive(picture)) await post("cancel", { id: picture.id });
  else reuse(picture);
}

function reuse(picture) {
  byId("view").close();
  byId("prompt").value = picture.prompt;
  stored(picture.prompt);
  byId("prompt").focus();
}

function view(picture) {
  byId("view-image").src = pictureUrl(code, picture.id, "thumb");
  const whole = new Image();
  whole.onload = () => byId("view-prompt").dataset.id === picture.id && (byId("view-image").src = whole.src);
  whole.src = pictureUrl(code, picture.id, "full");
  byId("view-prompt").dataset.id = picture.id;
  byId("view-image").alt = picture.prompt;
  byId("view-prompt").textContent = picture.prompt;
  byId("view-state").textContent = wallWords(picture);
  byId("view-download").href = pictureUrl(code, picture.id, "download");
  byId("view-reuse").onclick = () => reuse(picture);
  byId("view").showModal();
}
byId("view-close").addEventListener("click", () => byId("view").close());
byId("view").addEventListener("click", (event) => event.target === byId("view") && byId("view").close());

// A used-up allowance has room again at a time that only the clock tells.
function tick() {
  if (!state?.line) return;
  const isFree = state.left < 1 && !state.ended && Date.now() + offset > state.free_at;
  if (isFree) {
    state.free_at = Infinity; // once
    stream.open();
  }
  drawComposer();
}

// The way in

function askForCode(text) {
  byId("wrong").textContent = text;
  byId("wrong").hidden = !text;
  byId("code").value = query.get("code") ?? "";
  show("enter");
}

if (!code) askForCode("");
else {
  stream = new Stream("guest", code, {
    state(told) {
      const previews = new Map((state?.pictures ?? []).map((picture) => [picture.id, picture.preview]));
      state = told;
      offset = told.now - Date.now();
      for (const picture of state.pictures ?? []) picture.preview ??= previews.get(picture.id);
      if (state.nickname === undefined) welcome();
      else enter();
    },
    line(told) {
      if (!state?.line) return;
      state.line = told;
      drawPictures();
      drawComposer();
    },
    progress(told) {
      const picture = state?.pictures?.find((known) => known.id === told.id);
      if (!picture || !isActive(picture)) return;
      Object.assign(picture, told);
      drawCard(cards.get(told.id), picture);
    },
    gone: () => (stream.close(), askForCode("This session has been deleted.")),
    refused: () => (stream.close(), askForCode("There is no session with this code. Look at the wall again.")),
    lost: () => (byId("offline").hidden = state === null),
    back: () => (byId("offline").hidden = true),
  });
  setInterval(tick, 1_000);
}

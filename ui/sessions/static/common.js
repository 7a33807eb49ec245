// What both pages need: an event stream that comes back by itself, and a few helpers.
const SILENT_MS = 40_000; // the server says something every 15 s
const RETRY_MS = 2_000;
const BLOCKED_MS = 30_000; // after too many wrong codes

export const byId = (id) => document.getElementById(id);
export const query = new URLSearchParams(location.search);
export const pictureUrl = (code, id, kind) => `s/picture/${id}/${kind}?code=${encodeURIComponent(code)}`;

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Keeps one stream open. `on` holds a function per event, and `lost`, `back` and `refused`.
export class Stream {
  constructor(kind, code, on) {
    Object.assign(this, { kind, code, on, source: null, timer: 0, heard: Date.now() });
    setInterval(() => this.source && Date.now() - this.heard > SILENT_MS && this.open(), 5_000);
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.wake());
    document.addEventListener("visibilitychange", () => this.wake());
    this.open();
  }

  wake() {
    const isFresh = this.source?.readyState === EventSource.OPEN && Date.now() - this.heard < 20_000;
    if (!document.hidden && !isFresh) this.open();
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.heard = Date.now();
    const source = new EventSource(`s/events/${this.kind}?code=${encodeURIComponent(this.code)}`);
    this.source = source;
    for (const name of ["state", "line", "progress", "gone", "beat"]) {
      source.addEventListener(name, (event) => {
        this.heard = Date.now();
        if (name !== "beat") this.hear(name, JSON.parse(event.data));
      });
    }
    source.onerror = () => source === this.source && this.lose(source);
  }

  hear(name, data) {
    if (name === "state") {
      if (this.version && data.version && data.version !== this.version) return location.reload();
      this.version = data.version ?? this.version;
      this.on.back?.();
    }
    this.on[name]?.(data);
  }

  async lose(source) {
    this.on.lost?.();
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const status = await this.ask();
    if (source !== this.source) return;
    if (status === 404) this.on.refused?.();
    this.timer = setTimeout(() => this.open(), status === 404 || status === 429 ? BLOCKED_MS : RETRY_MS);
  }

  async ask() {
    try {
      return (await fetch(`s/qr?code=${encodeURIComponent(this.code)}`, { cache: "no-store" })).status;
    } catch {
      return 0;
    }
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}

// Tells the server what stands in the prompt while somebody types, a moment after each pause.
const PAUSE_MS = 350;

export default function ({ setStateValue }) {
  let waiting;
  const onInput = (event) => {
    if (!event.target.closest?.(".st-key-prompt")) return;
    clearTimeout(waiting);
    const text = event.target.value;
    waiting = setTimeout(() => setStateValue("text", text), PAUSE_MS);
  };
  // One listener, however often this runs again.
  window.inklingTalk?.();
  document.addEventListener("input", onInput, true);
  window.inklingTalk = () => {
    clearTimeout(waiting);
    document.removeEventListener("input", onInput, true);
  };
  return window.inklingTalk;
}

// What Streamlit can't do: keys that mind where the focus is, a tidy history, a named navigation.
const FIELD = "input, textarea, select, [contenteditable], [role=combobox], [role=listbox], [role=slider]";
const OPEN = "[role=dialog], [data-testid=stPopoverBody], [role=listbox], [role=menu]";

let closedAt = -Infinity;

const click = (...keys) => {
  const button = keys.map((key) => document.querySelector(`.st-key-${key} button`)).find(Boolean);
  if (button && !button.disabled) button.click();
  return Boolean(button);
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const dialog = document.querySelector("[role=dialog]");
  // A button that was disabled for a moment, as Download is, loses the focus to the page.
  if (event.key === "Escape" && dialog && !dialog.contains(event.target)) {
    dialog.querySelector("[aria-label=Close]")?.click();
    return;
  }
  if (event.target.closest?.(FIELD) || document.querySelector(OPEN)) {
    if (event.key === "Escape") closedAt = event.timeStamp;
    return;
  }
  // Pressed once more than needed to close something, it is not meant for the job.
  if (event.key === "Escape" && event.timeStamp - closedAt > 1000) click("cancel", "cancel-grid");
  if (event.key === "ArrowLeft") click("film-previous");
  else if (event.key === "ArrowRight") click("film-next");
}

// Leafing through pictures is one step in the history, not one for each picture.
function tidyHistory() {
  if (history.pushState.isTidy) return;
  const push = history.pushState;
  const isOpen = (address) => new URL(address, location.href).searchParams.has("img");
  history.pushState = function (state, title, address) {
    const leafs = address && isOpen(address) && isOpen(location.href);
    return (leafs ? history.replaceState : push).call(history, state, title, address);
  };
  history.pushState.isTidy = true;
}

// Streamlit's page links say neither that they are the navigation nor which page is open.
function nameTabs() {
  const tabs = document.querySelector(".st-key-tabs");
  if (!tabs) return null;
  const name = () => {
    tabs.setAttribute("role", "navigation");
    tabs.setAttribute("aria-label", "Pages");
    for (const link of tabs.querySelectorAll("a")) {
      if (link.closest('[class*="st-key-here-"]')) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };
  name();
  const observer = new MutationObserver(name);
  observer.observe(tabs, { childList: true, subtree: true });
  return observer;
}

export default function ({ setTriggerValue }) {
  tidyHistory();
  // The logo is drawn for the theme of the last run; at dusk it would vanish.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => setTriggerValue("scheme", dark.matches);
  dark.addEventListener("change", redraw);
  const observer = nameTabs();
  // Before anything else: what is open now may be closed by this very key.
  document.addEventListener("keydown", onKey, true);
  return () => {
    document.removeEventListener("keydown", onKey, true);
    observer?.disconnect();
    dark.removeEventListener("change", redraw);
  };
}

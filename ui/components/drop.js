// A picture dropped anywhere on the page goes to the hidden uploader.
const KINDS = ["image/png", "image/jpeg", "image/webp"];

const filesOf = (event) => [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");

// A place of its own, which takes the file itself.
const isElsewhere = (event) => event.target.closest?.("[data-testid=stFileUploaderDropzone]");

function sentence(files) {
  if (files.length > 1) return "One picture at a time, please";
  return KINDS.includes(files[0].type) ? "Drop the picture to import it" : "Only PNG, JPEG and WebP pictures";
}

export default function () {
  const veil = document.createElement("div");
  veil.className = "ink-veil";
  veil.hidden = true;
  document.body.append(veil);
  const hide = () => { veil.hidden = true; };

  function onOver(event) {
    const files = filesOf(event);
    if (!files.length) return;
    if (isElsewhere(event)) return hide();
    event.preventDefault();
    veil.textContent = sentence(files);
    veil.hidden = false;
  }
  function onLeave(event) {
    if (!event.relatedTarget) hide();
  }
  function onDrop(event) {
    hide();
    const { files } = event.dataTransfer ?? {};
    if (!files?.length || isElsewhere(event)) return;
    event.preventDefault(); // else the browser leaves the page for the file
    const input = document.querySelector(".st-key-dropzone input[type=file]");
    if (!input || files.length > 1 || !KINDS.includes(files[0].type)) return;
    const named = new DataTransfer(); // the uploader goes by the name's ending
    const { type } = files[0];
    named.items.add(new File([files[0]], `dropped.${type.split("/")[1]}`, { type }));
    input.files = named.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const listeners = { dragover: onOver, dragleave: onLeave, drop: onDrop };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener);
    veil.remove();
  };
}

// Pictures that a call brings along: pasted, dropped, chosen as a file or named by address; and the mask, drawn by hand.
import { announce } from "./announce.js";
import { say } from "./speech.js";

const localUrl = (text) => { try { return new URL(text, location.href).origin === location.origin; } catch { return false; } };

function fileSet(box, file) {
  const carrier = new DataTransfer();
  carrier.items.add(file);
  const input = box.querySelector("input[type=file]");
  input.files = carrier.files;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

// What cannot be read here is told beside the field and never sent; null takes the word back.
function refuse(box, text) {
  const input = box.querySelector("input[type=file]");
  const place = box.querySelector("[data-unread]");
  place.hidden = text === null;
  place.textContent = text ?? "";
  input.setAttribute("aria-invalid", String(text !== null));
  if (text === null) return;
  input.value = "";
  box.querySelector("[data-preview]").hidden = true;
  box.closest("form").dispatchEvent(new Event("input"));
  announce(text);
}

const noPicture = (file) => say("{name} is no picture that can be read here: choose PNG, JPEG, WebP, GIF or BMP.", { name: file.name });

function preview(box) {
  const image = box.querySelector("[data-preview]");
  const input = box.querySelector("input[type=file]");
  const file = input.files[0];
  refuse(box, file && !input.accept.split(",").includes(file.type) ? noPicture(file) : null);
  if (file && !input.files.length) return;
  const text = box.querySelector("input[type=text]").value.trim();
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  // Pictures of other hosts are fetched by the service alone: this page asks no other host.
  const source = file ? URL.createObjectURL(file) : text.startsWith("data:image/") || (text && localUrl(text)) ? text : "";
  image.hidden = source === "";
  if (!source) return;
  image.onerror = () => refuse(box, file ? noPicture(file) : say("There is no picture at this address."));
  image.src = source;
}

function masking(form) {
  const mask = form.querySelector("[data-picture=mask_image]");
  const source = form.querySelector("[data-picture=init_image] [data-preview]");
  if (!mask || !source) return;
  const box = mask.querySelector("[data-draw]");
  const canvas = box.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const strokes = new OffscreenCanvas(1, 1);
  let last = null;

  const paint = () => {
    pen.globalAlpha = 1;
    pen.drawImage(source, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 0.65;
    pen.drawImage(strokes, 0, 0);
  };
  const begin = () => {
    box.hidden = source.hidden;
    if (source.hidden) return;
    canvas.width = strokes.width = source.naturalWidth;
    canvas.height = strokes.height = source.naturalHeight;
    paint();
  };
  source.addEventListener("load", begin);
  form.addEventListener("input", () => { if (source.hidden) box.hidden = true; });

  const point = (event) => [event.offsetX * canvas.width / canvas.clientWidth, event.offsetY * canvas.height / canvas.clientHeight];
  const draw = (event) => {
    const brush = strokes.getContext("2d");
    const here = point(event);
    brush.strokeStyle = "#ffffff";
    brush.lineCap = "round";
    brush.lineWidth = Number(box.querySelector("input").value) * canvas.width / canvas.clientWidth;
    brush.beginPath();
    brush.moveTo(...(last ?? here));
    brush.lineTo(...here);
    brush.stroke();
    last = here;
    paint();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); draw(event); });
  canvas.addEventListener("pointermove", (event) => { if (last) draw(event); });
  canvas.addEventListener("pointerup", async () => {
    last = null;
    const whole = new OffscreenCanvas(strokes.width, strokes.height);
    const flat = whole.getContext("2d");
    flat.fillStyle = "#000000";
    flat.fillRect(0, 0, whole.width, whole.height);
    flat.drawImage(strokes, 0, 0);
    fileSet(mask, new File([await whole.convertToBlob({ type: "image/png" })], "mask.png", { type: "image/png" }));
  });
  box.querySelector("[data-clear]").addEventListener("click", () => {
    strokes.getContext("2d").clearRect(0, 0, strokes.width, strokes.height);
    mask.querySelector("input[type=file]").value = "";
    preview(mask);
    paint();
    announce(say("The mask is empty"));
  });
}

export function inputsStart(form) {
  for (const box of form.querySelectorAll("[data-picture]")) {
    box.addEventListener("input", () => preview(box));
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.dataset.over = ""; });
    box.addEventListener("dragleave", () => { delete box.dataset.over; });
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      delete box.dataset.over;
      const [file] = event.dataTransfer.files;
      const text = event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain");
      if (file) fileSet(box, file);
      else if (text) inputUse(form, box.dataset.picture, text);
    });
    preview(box);
  }
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    const box = event.target.closest?.("[data-picture]") ?? form.querySelector("[data-picture]:not([hidden])");
    if (!file || !box) return;
    event.preventDefault();
    fileSet(box, file);
    announce(say("Picture pasted"));
  });
  masking(form);
}

// Whether nothing that was refused stands in the fields of this operation; else the first such field has the focus.
export function inputsSound(form) {
  const unread = form.querySelector("[data-picture]:not([hidden]) [data-unread]:not([hidden])");
  if (!unread) return true;
  unread.closest("[data-picture]").querySelector("input[type=file]").focus();
  announce(unread.textContent);
  return false;
}

// A picture by its address: those of this service need no upload.
export function inputUse(form, name, address) {
  const box = form.querySelector(`[data-picture=${name}]`);
  if (!box) return false;
  box.querySelector("input[type=file]").value = "";
  box.querySelector("input[type=text]").value = new URL(address, location.href).href;
  box.querySelector("input[type=text]").dispatchEvent(new Event("input", { bubbles: true }));
  return true;
}

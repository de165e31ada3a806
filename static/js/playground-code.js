// The form as a call's body, and that body written into each language's sample.
const quote = (value) => JSON.stringify(value);
const python = (value) => (value === true ? "True" : quote(value));
const LISTS = ["lora_model", "lora_strength"];
const ALWAYS = ["prompt", "width", "height"];

const shown = (element) => element.closest("[hidden]") === null;

export function operationOf(form) {
  return form.querySelector("[name=operation]:checked") ?? form.querySelector("[name=operation]");
}

// What differs from the defaults, with numbers as numbers. A chosen file stands as a word: its bytes are not code.
export function bodyOf(form) {
  const fields = { model_id: form.dataset.model };
  for (const control of form.querySelectorAll("[data-kind]")) {
    if (!shown(control) || LISTS.includes(control.name)) continue;
    if (control.type === "checkbox") {
      if (control.checked) fields[control.name] = true;
      continue;
    }
    const file = form.elements[`${control.name}_file`]?.files?.[0];
    const value = file ? `<${file.name} as base64>` : control.value.trim();
    if (value === "" || (!ALWAYS.includes(control.name) && value === control.dataset.default)) continue;
    fields[control.name] = ["integer", "number"].includes(control.dataset.kind) ? Number(value) : value;
  }
  const rows = [...form.querySelectorAll(".lora")].filter((row) => shown(row) && row.querySelector("select").value);
  if (rows.length) {
    fields.lora_model = rows.map((row) => row.querySelector("select").value).join(",");
    fields.lora_strength = rows.map((row) => row.querySelector("input").value).join(",");
  }
  return fields;
}

const WRITERS = {
  curl: (text, fields) => text.replace(/-d '[\s\S]*'$/, () => `-d '${quote(fields).replaceAll("'", "'\\''")}'`),
  python: (text, fields) => text.replace(/json\.dumps\(\{[\s\S]*?\}\)\.encode/, () =>
    `json.dumps({${Object.entries(fields).map(([name, value]) => `${quote(name)}: ${python(value)}`).join(", ")}}).encode`),
  javascript: (text, fields) => text.replace(/JSON\.stringify\(\{[\s\S]*?\}\)/, () =>
    `JSON.stringify(${JSON.stringify(fields, null, 2).replaceAll("\n", "\n  ")})`),
  php: (text, fields) => text.replace(/'content' => '[\s\S]*?',\n    'timeout'/, () =>
    `'content' => '${quote(fields).replaceAll("\\", "\\\\").replaceAll("'", "\\'")}',\n    'timeout'`),
  java: (text, fields) => text.replace(/ofString\("[\s\S]*?"\)\)\n/, () =>
    `ofString("${quote(fields).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"))\n`),
  request: (_, fields) => JSON.stringify(fields, null, 2),
};
WRITERS.node = WRITERS.javascript;

let path = null;

export function codeShow(form) {
  const fields = bodyOf(form);
  const before = path ?? form.querySelector("[name=operation][checked], [name=operation]")?.dataset.path;
  path = operationOf(form)?.dataset.path ?? before;
  for (const pre of document.querySelectorAll("#api pre[data-language]")) {
    const write = WRITERS[pre.dataset.language];
    if (write) pre.firstElementChild.textContent = write(pre.textContent.replace(before, path), fields);
  }
}

export function replyShow(reply) {
  const code = document.querySelector("#api pre[data-language=response] code");
  if (code) code.textContent = JSON.stringify(reply, null, 2);
}

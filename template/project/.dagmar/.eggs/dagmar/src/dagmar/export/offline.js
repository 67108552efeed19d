const shown = new Set();
globalThis.__MARIMO_STYLE__ = (name) => {
  if (shown.has(name) || !(name in STYLES)) return;
  shown.add(name);
  const style = document.createElement("style");
  style.dataset.viteDevId = name;
  style.textContent = STYLES[name];
  document.head.append(style);
};
FIRST.forEach(globalThis.__MARIMO_STYLE__);
const imports = {};
for (const [name, text] of Object.entries(MODULES))
  imports["marimo-offline/" + name] =
    URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
const map = document.createElement("script");
map.type = "importmap";
map.textContent = JSON.stringify({ imports });
document.head.append(map);
addEventListener("DOMContentLoaded", () => {
  const main = document.createElement("script");
  main.type = "module";
  main.textContent = "import " + JSON.stringify("marimo-offline/" + ENTRY);
  document.body.append(main);
});

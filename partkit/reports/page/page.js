"use strict";
// Sorting, search and saving: all else of the page works without a script.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const rises = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", rises ? "ascending" : "descending");
      const sign = rises ? 1 : -1;
      const key = (row) => row.cells[column].dataset.v;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
        if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1; // what has no number comes last
        return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// What closed boxes hold is packed in the page, and unpacked once, when the first of them is unfolded or searched.
const unpack = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};
const packed = new Map(); // by a model's boxes: what gives the packed contents
for (const script of document.querySelectorAll("script.inside")) {
  if (typeof DecompressionStream === "undefined") continue;
  const boxes = script.previousElementSibling;
  let contents;
  packed.set(boxes, () => (contents ??= unpack(script.textContent)));
  for (const box of boxes.querySelectorAll("[data-inside]")) {
    const fold = document.createElement("details");
    const line = document.createElement("summary");
    line.append(...box.childNodes);
    fold.append(line);
    fold.className = box.className.replace(" closed", "");
    fold.style.cssText = box.style.cssText;
    fold.title = box.title;
    fold.dataset.inside = box.dataset.inside;
    fold.addEventListener("toggle", () => fold.open && fill(boxes, fold));
    box.replaceWith(fold);
  }
}
const fill = async (boxes, fold) => {
  const number = fold.dataset.inside;
  if (number === undefined) return;
  delete fold.dataset.inside;
  fold.insertAdjacentHTML("beforeend", (await packed.get(boxes)())[number]);
};
const MOST_FILLED = 20; // boxes that a search unfolds: of more it says that there are some
for (const tools of document.querySelectorAll(".finder")) {
  tools.hidden = false;
  const boxes = tools.parentElement.nextElementSibling;
  const foldsNow = () => [...boxes.querySelectorAll("details")];
  const opened = foldsNow().filter((fold) => fold.open);
  const textOf = (thing) => {
    const line = thing.matches("details") ? thing.firstElementChild : thing;
    return `${thing.title} ${line.textContent}`.toLowerCase();
  };
  const search = tools.querySelector(".search");
  const found = tools.querySelector(".found");
  let insides;
  const fillWhatHas = async (wanted) => {
    insides ??= (await packed.get(boxes)()).map((html) => html.replace(/<[^>]*>/g, " ").toLowerCase());
    const having = [...boxes.querySelectorAll("details[data-inside]")].filter((fold) => insides[fold.dataset.inside].includes(wanted));
    await Promise.all(having.slice(0, MOST_FILLED).map((fold) => fill(boxes, fold)));
    return Math.max(0, having.length - MOST_FILLED);
  };
  const show = (wanted, folded) => {
    const things = [...boxes.querySelectorAll(".box,.node")];
    const hits = things.filter((thing) => textOf(thing).includes(wanted));
    const shown = new Set(hits);
    for (const hit of hits) {
      for (let box = hit.parentElement.closest("details.box"); box; box = box.parentElement.closest("details.box")) shown.add(box);
      hit.querySelectorAll(".box,.node").forEach((inner) => shown.add(inner));
    }
    things.forEach((thing) => thing.classList.toggle("away", !shown.has(thing)));
    foldsNow().forEach((fold) => (fold.open = shown.has(fold) && !!fold.querySelector(".box:not(.away),.node:not(.away)")));
    found.textContent = `${hits.length} found${folded ? `, and more in ${folded} folded modules` : ""}`;
  };
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) {
      boxes.querySelectorAll(".away").forEach((thing) => thing.classList.remove("away"));
      foldsNow().forEach((fold) => (fold.open = opened.includes(fold)));
      found.textContent = "";
      return;
    }
    show(wanted, 0);
    if (packed.has(boxes)) fillWhatHas(wanted).then((folded) => search.value.trim().toLowerCase() === wanted && show(wanted, folded));
  });
  const foldAll = (open) => foldsNow().forEach((fold) => (fold.open = open && fold.dataset.inside === undefined));
  tools.querySelector(".unfold").addEventListener("click", () => foldAll(true));
  tools.querySelector(".fold").addEventListener("click", () => foldAll(false));
}
for (const button of document.querySelectorAll(".save")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = document.getElementById(button.dataset.from).textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = button.dataset.name.split("/").pop();
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
// A printed page shows what is folded.
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.box)").forEach((fold) => (fold.open = true)));

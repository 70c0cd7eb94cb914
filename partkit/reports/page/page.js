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
for (const tools of document.querySelectorAll(".finder")) {
  tools.hidden = false;
  const boxes = tools.parentElement.nextElementSibling;
  const things = [...boxes.querySelectorAll(".box,.node")];
  const folds = [...boxes.querySelectorAll("details")];
  const opened = folds.filter((fold) => fold.open);
  const texts = things.map((thing) => {
    const line = thing.matches("details") ? thing.firstElementChild : thing;
    return `${thing.title} ${line.textContent}`.toLowerCase();
  });
  const search = tools.querySelector(".search");
  const found = tools.querySelector(".found");
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) {
      things.forEach((thing) => thing.classList.remove("away"));
      folds.forEach((fold) => (fold.open = opened.includes(fold)));
      found.textContent = "";
      return;
    }
    const hits = things.filter((_, place) => texts[place].includes(wanted));
    const shown = new Set(hits);
    for (const hit of hits) {
      for (let box = hit.parentElement.closest("details.box"); box; box = box.parentElement.closest("details.box")) shown.add(box);
      hit.querySelectorAll(".box,.node").forEach((inner) => shown.add(inner));
    }
    things.forEach((thing) => thing.classList.toggle("away", !shown.has(thing)));
    folds.forEach((fold) => (fold.open = shown.has(fold) && !!fold.querySelector(".box:not(.away),.node:not(.away)")));
    found.textContent = `${hits.length} found`;
  });
  const foldAll = (open) => folds.forEach((fold) => (fold.open = open));
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

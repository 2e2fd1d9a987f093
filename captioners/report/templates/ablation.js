"use strict";
(() => {
  // The table: sorted by its heads, and by two choices where a phone shows no heads.
  const table = document.getElementById("table");
  const choices = document.getElementById("choices");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const value = (row, column) => {
    if (!column) return row.cells[0].textContent.trim();
    const told = row.cells[column]?.dataset.value;
    return told === undefined ? null : Number(told);
  };
  const sort = (column, order) => {
    const way = order === "ascending" ? 1 : -1;
    const place = (row) => Number(row.dataset.place);
    const compare = (one, other) => {
      if (column === null) return place(one) - place(other);
      const [a, b] = [value(one, column), value(other, column)];
      if (a === null || b === null) return (a === null) - (b === null) || place(one) - place(other);
      return way * (typeof a === "string" ? a.localeCompare(b) : a - b) || place(one) - place(other);
    };
    body.append(...[...rows].sort(compare));
    heads.forEach((head, number) => head.setAttribute("aria-sort", number === column ? order : "none"));
  };
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = column ? "descending" : "ascending";
      const next = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
      sort(column, next);
    });
  });
  choices.addEventListener("input", () => {
    const { by, order } = choices.elements;
    sort(by.value ? Number(by.value) : null, order.value);
  });
  for (const label of choices.querySelectorAll(".sorting")) label.hidden = false;
  table.classList.add("sortable");

  // The gallery: one image at a time, picked by its thumbnail or with the arrow keys.
  const pick = document.getElementById("pick");
  if (pick) {
    const shown = [...document.querySelectorAll("article.seen")];
    const strip = pick.querySelector("fieldset");
    shown.forEach((article, number) => {
      const label = document.createElement("label");
      label.className = "thumb";
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "image", value: String(number), checked: !number });
      const name = article.querySelector("h3").textContent;
      const picture = article.querySelector("img")?.cloneNode() ?? document.createElement("span");
      if (picture.src) picture.alt = name;
      else picture.textContent = name;
      label.append(radio, picture);
      strip.append(label);
    });
    const apply = () => {
      const at = Number(new FormData(pick).get("image"));
      const arm = pick.elements.arm.value;
      shown.forEach((article, number) => {
        article.hidden = number !== at;
        for (const block of article.querySelectorAll(".arm")) block.hidden = Boolean(arm) && block.dataset.arm !== arm;
      });
    };
    pick.addEventListener("input", apply);
    pick.hidden = false;
    apply();
  }
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
})();

"use strict";
(() => {
  const form = document.getElementById("filter");
  const groups = [...document.querySelectorAll("section.group")].map((group) => ({
    group,
    cards: [...group.querySelectorAll("article")].map((card) => ({ card, text: card.textContent.toLowerCase() })),
  }));
  const count = groups.reduce((sum, { cards }) => sum + cards.length, 0);
  if (!count) return;
  const apply = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const { group, cards } of groups) {
      let here = 0;
      for (const { card, text: said } of cards) {
        card.hidden = !said.includes(text);
        here += !card.hidden;
      }
      group.hidden = !here;
      shown += here;
    }
    form.querySelector("output").textContent = `${shown} of ${count} shown`;
    document.getElementById("none").hidden = shown > 0;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();

"use strict";
(() => {
  const form = document.getElementById("filter");
  const cards = [...document.querySelectorAll(".cards article")];
  if (!cards.length) return;
  const told = cards.map((card) => ({
    card,
    name: card.querySelector("h3").textContent.toLowerCase(),
    groups: [...card.querySelectorAll(".member")].map((group) => ({
      group,
      lines: [...group.querySelectorAll("li")].map((line) => ({
        line,
        text: line.querySelector(".text").textContent.toLowerCase(),
        flags: line.dataset.flags.split(" "),
      })),
    })),
  }));
  const apply = () => {
    const member = form.elements.member.value;
    const flag = form.elements.flag.value;
    const text = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const { card, name, groups } of told) {
      let any = false;
      for (const { group, lines } of groups) {
        const wanted = !member || group.dataset.member === member;
        group.hidden = !wanted;
        for (const { line, text: said, flags } of lines) {
          const fits = (!flag || flags.includes(flag)) && (!text || said.includes(text) || name.includes(text));
          line.classList.toggle("other", !fits);
          any ||= wanted && fits;
        }
      }
      card.hidden = !any;
      shown += any;
    }
    form.querySelector("output").textContent = `${shown} of ${cards.length} images`;
    document.getElementById("none").hidden = shown > 0;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();

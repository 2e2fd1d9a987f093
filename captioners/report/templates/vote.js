"use strict";
(() => {
  const page = document.body.dataset.page;
  const ballots = [...document.querySelectorAll(".ballot")];
  const form = document.getElementById("ballot");
  if (!ballots.length) return;
  const place = `captioners-votes-${page}`;
  // Kept in this browser, so that a closed tab loses nothing; some browsers keep nothing for files.
  const kept = () => {
    try {
      return JSON.parse(localStorage.getItem(place)) || {};
    } catch {
      return {};
    }
  };
  const keys = new Set(ballots.map((ballot) => ballot.dataset.key));
  const votes = new Map(Object.entries(kept()).filter(([key]) => keys.has(key)));
  const first = ballots.findIndex((ballot) => !votes.has(ballot.dataset.key));
  let at = first < 0 ? ballots.length : first;
  const show = () => {
    ballots.forEach((ballot, number) => {
      ballot.hidden = number !== at;
    });
    const vote = votes.get(ballots[at]?.dataset.key);
    for (const name of ["left", "tie", "right"]) {
      form.elements[name].disabled = at === ballots.length;
      form.elements[name].setAttribute("aria-pressed", String(vote === name));
    }
    form.elements.back.disabled = at === 0;
    form.elements.download.disabled = !votes.size;
    document.getElementById("end").hidden = at < ballots.length;
    form.querySelector("progress").value = votes.size;
    const where = at < ballots.length ? `Image ${at + 1} of ${ballots.length}` : "All images seen";
    form.querySelector("output").textContent = `${where}, ${votes.size} votes`;
  };
  const cast = (vote) => {
    if (at === ballots.length) return;
    votes.set(ballots[at].dataset.key, vote);
    try {
      localStorage.setItem(place, JSON.stringify(Object.fromEntries(votes)));
    } catch {
      // Nothing is kept then; the download still holds every vote.
    }
    at += 1;
    show();
  };
  const back = () => {
    at = Math.max(0, at - 1);
    show();
  };
  const download = () => {
    const told = { format: "captioners-votes", version: 1, page, votes: Object.fromEntries(votes) };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" }));
    link.download = `votes-${page}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const does = { back, download, left: () => cast("left"), tie: () => cast("tie"), right: () => cast("right") };
  const pressed = { ArrowLeft: "left", ArrowDown: "tie", ArrowRight: "right", ArrowUp: "back" };
  for (const [name, action] of Object.entries(does)) form.elements[name].addEventListener("click", action);
  document.addEventListener("keydown", (event) => {
    const name = pressed[event.key];
    if (!name || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
    event.preventDefault();
    does[name]();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();

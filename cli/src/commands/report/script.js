// What the page can do without, but is handier with: sorting, filtering, and moving between tiles.
"use strict";
document.documentElement.classList.add("has-script");

// The tiles are one stop for the Tab key; arrow keys go to the nearest tile that way.
for (const picture of document.querySelectorAll("svg.tiles")) {
  const tiles = [...picture.querySelectorAll("a.tile")];
  const readout = picture.closest("figure").querySelector(".readout");
  const say = (tile) => { readout.textContent = tile.getAttribute("aria-label"); };
  const choose = (tile) => {
    for (const other of tiles) other.setAttribute("tabindex", other === tile ? "0" : "-1");
  };
  if (tiles.length > 0) choose(tiles[0]);
  const center = (tile) => {
    const box = tile.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const next = (from, [dx, dy]) => {
    const [x, y] = center(from);
    let [best, least] = [null, Infinity];
    for (const tile of tiles) {
      const [tx, ty] = center(tile);
      const along = (tx - x) * dx + (ty - y) * dy;
      const aside = Math.abs((tx - x) * dy) + Math.abs((ty - y) * dx);
      if (along > 0.5 && along + 3 * aside < least) [best, least] = [tile, along + 3 * aside];
    }
    return best;
  };
  picture.addEventListener("keydown", (event) => {
    const from = event.target.closest("a.tile");
    if (!from || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = event.key === "Home" ? tiles[0]
      : event.key === "End" ? tiles[tiles.length - 1]
      : ways[event.key] ? next(from, ways[event.key]) : null;
    if (to || ways[event.key]) event.preventDefault();
    if (to) { choose(to); to.focus(); }
  });
  picture.addEventListener("focusin", (event) => {
    const tile = event.target.closest("a.tile");
    if (tile) { choose(tile); say(tile); }
  });
  picture.addEventListener("pointerover", (event) => {
    const tile = event.target.closest("a.tile");
    if (tile) say(tile);
  });
}

// The slider goes along the choices for a size; so does pointing at one.
const slider = document.getElementById("budget-size");
if (slider) {
  const figure = slider.closest("figure");
  const choices = [...figure.querySelectorAll("g.choice")];
  const choose = (index) => {
    choices.forEach((choice, i) => choice.classList.toggle("chosen", i === index));
    const text = choices[index].querySelector("title").textContent;
    figure.querySelector(".readout").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", () => choose(Number(slider.value)));
  figure.addEventListener("pointerover", (event) => {
    const index = choices.indexOf(event.target.closest("g.choice"));
    if (index >= 0) { slider.value = index; choose(index); }
  });
  choose(Number(slider.value));
}

// A link to a tensor's row also moves the focus there.
addEventListener("hashchange", () => {
  const row = document.getElementById(location.hash.slice(1));
  if (row && row.matches("tr")) { row.hidden = false; row.scrollIntoView({ block: "center" }); row.focus(); }
});

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.by === undefined ? cell.textContent : Number(cell.dataset.by.replace("inf", "Infinity"));
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    return Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a < b ? -1 : a > b ? 1 : 0;
  };
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const way = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", way);
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      rows.sort(([a], [b]) => {
        // Those without a number stay at the end.
        const none = typeof a === "number" && (Number.isNaN(a) || Number.isNaN(b));
        return none || way === "ascending" ? compare(a, b) : compare(b, a);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    let count = 0;
    for (const row of body.rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      count += !row.hidden;
    }
    document.querySelector("output[for=filter]").textContent = wanted === "" ? "" : `${count} shown`;
  });
}

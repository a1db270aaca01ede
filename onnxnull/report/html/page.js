"use strict";
// Sorting and filtering of the tables. Without scripts the tables are complete and the controls stay hidden.
function key(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return 1;
  if (typeof b === "number") return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function sort(table, header) {
  const column = header.cellIndex;
  const numeric = header.classList.contains("number");
  const before = header.getAttribute("aria-sort");
  const ascending = before === null ? !numeric : before === "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const value = (row) => (numeric ? key(row.cells[column]) : row.cells[column].textContent.trim().toLowerCase());
  const rows = Array.from(body.rows, (row) => [value(row), row]);
  rows.sort((a, b) => (ascending ? compare(a[0], b[0]) : compare(b[0], a[0])));
  body.append(...rows.map((pair) => pair[1]));
}

for (const section of document.querySelectorAll("[data-table]")) {
  const table = section.querySelector("table");
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.title = "Sort by this column";
    button.addEventListener("click", () => sort(table, header));
    header.replaceChildren(button);
  }
  const controls = section.querySelector(".controls");
  if (controls === null) continue;
  const text = controls.querySelector('[type="search"]');
  const kernel = controls.querySelector('[type="checkbox"]');
  const shown = controls.querySelector("output");
  const rows = Array.from(table.tBodies[0].rows);
  const filter = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word)) || (kernel.checked && !("kernel" in row.dataset));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  };
  text.addEventListener("input", filter);
  kernel.addEventListener("change", filter);
  controls.hidden = false;
  filter();
}

// Long tables get a filter, and headers that sort.
"use strict";

const LONG = 15;

function sortValue(cell) {
  const text = cell.textContent.trim();
  const number = Number.parseFloat(text.replace(/,/g, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}

function sortBy(table, column, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(sortValue(a.cells[column]), sortValue(b.cells[column])));
  table.tBodies[0].append(...(descending ? rows.reverse() : rows));
}

function filterBy(table, words, count) {
  const rows = [...table.tBodies[0].rows];
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
  }
  count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
}

function enhance(table) {
  table.classList.add("sortable");
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.append(button);
  });
  const input = document.createElement("input");
  input.type = "search";
  input.className = "table-filter";
  input.placeholder = "Filter: words that a row must have, such as softmax bfloat16";
  input.setAttribute("aria-label", "Filter the rows of the table");
  const count = document.createElement("p");
  count.className = "table-count";
  input.addEventListener("input", () => filterBy(table, input.value, count));
  const outer = table.closest(".pst-scrollable-table-container") ?? table;
  outer.classList.add("long-table");
  outer.before(input, count);
  filterBy(table, "", count);
}

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    if (table.tHead && table.tBodies[0]?.rows.length > LONG && !table.classList.contains("autosummary")) enhance(table);
  }
});

"use strict";
// A click on the header of a column sorts its table: numbers by value, missing ones last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "descending" : "ascending");
      const numeric = header.classList.contains("n");
      const value = (row) => {
        const cell = row.cells[column];
        if (!numeric) return cell.textContent;
        return cell.dataset.v === "" || cell.dataset.v === "nan" ? NaN : Number(cell.dataset.v);
      };
      const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (!numeric) return ascending ? b.localeCompare(a, "en", { numeric: true }) : a.localeCompare(b, "en", { numeric: true });
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
        return ascending ? b - a : a - b;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
// The table of contents marks the section in view.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const sections = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
const mark = () => {
  const current = sections.filter((section) => section.getBoundingClientRect().top < innerHeight * 0.3).pop() || sections[0];
  links.forEach((link, id) => {
    if (current && id === current.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
};
addEventListener("scroll", mark, { passive: true });
addEventListener("resize", mark, { passive: true });
mark();

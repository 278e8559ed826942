const detail = document.getElementById("detail");
const cells = [...document.querySelectorAll("a.cell")];
const tell = (cell) => {
  if (!detail) return;
  detail.hidden = false;
  detail.textContent = cell.dataset.said;
};
for (const cell of cells) {
  cell.addEventListener("focus", () => tell(cell));
  cell.addEventListener("pointerenter", () => tell(cell));
  cell.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!step) return;
    event.preventDefault();
    const rows = [...cell.closest("tbody").rows].filter((row) => !row.hidden);
    let y = rows.indexOf(cell.closest("tr")), x = cell.closest("td").cellIndex;
    for (;;) {
      y += step[0];
      x += step[1];
      if (!rows[y] || !rows[y].cells[x]) return;
      const next = rows[y].cells[x].querySelector("a.cell");
      if (next) return next.focus();
    }
  });
}
const filters = ["filter-name", "filter-verdict", "filter-reference"].map((id) => document.getElementById(id));
const sift = () => {
  const [name, verdict, reference] = filters;
  const wanted = name.value.trim().toLowerCase();
  const rows = [...document.querySelectorAll("#matrix tbody tr")];
  for (const row of rows) {
    const named = row.dataset.name.toLowerCase().includes(wanted);
    const judged = !verdict.value || [...row.querySelectorAll("a.cell")].some((cell) => cell.dataset.verdict === verdict.value);
    row.hidden = !(named && judged && (reference.checked || !row.classList.contains("reference")));
  }
  document.getElementById("filter-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
};
if (filters[0]) {
  filters.forEach((filter) => filter.addEventListener("input", sift));
  filters[0].form.addEventListener("submit", (event) => event.preventDefault());
  sift();
}
const unfold = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) {
    folded.open = true;
    target.scrollIntoView({block: "center"});
  }
};
addEventListener("hashchange", unfold);
unfold();

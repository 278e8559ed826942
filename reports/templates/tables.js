for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const read = (row, at) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
  heads.forEach((head, at) => {
    if (!("key" in head.dataset)) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows];
      const values = new Map(rows.map((row) => [row, read(row, at)]));
      const numeric = rows.every((row) => values.get(row) === "" || !isNaN(values.get(row)));
      rows.sort((a, b) => {
        const x = values.get(a), y = values.get(b);
        if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
        return (up ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
      });
      body.append(...rows);
    });
  });
}

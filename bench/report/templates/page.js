// Tables sort by any column, by click and by keyboard; films show their first frame. Without this script the page stands as it was written.
(() => {
  const shown = (cell) => (cell.dataset.v ?? cell.textContent).replace(/\u2212/g, "-").trim();
  const keyOf = (row, column, numeric) => {
    const text = shown(row.cells[column]);
    if (text === "" || text === "\u2013") return null;
    if (!numeric) return text;
    const number = Number.parseFloat(text.replace(/^[<>~ ]+/, ""));
    return Number.isNaN(number) ? null : number;
  };
  const compare = (one, other) => (typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true }));

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("n") || [...body.rows].every((row) => "v" in row.cells[column].dataset);
        const keyed = [...body.rows].map((row) => [keyOf(row, column, numeric), row]);
        keyed.sort(([one], [other]) => {
          if (one === null || other === null) return (one === null) - (other === null);
          return down ? compare(other, one) : compare(one, other);
        });
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // Nothing is loaded with the page: a film is asked for when it comes into view, and one that did not travel with it is told.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      target.preload = "metadata";
    }
  });
  for (const film of document.querySelectorAll(".films video")) {
    film.addEventListener("error", () => {
      const told = document.createElement("p");
      told.className = "absent";
      told.textContent = `The film is not beside this page:\n${decodeURIComponent(film.getAttribute("src"))}`;
      film.replaceWith(told);
    });
    seen.observe(film);
  }
})();

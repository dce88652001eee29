// Filters, sorts and copies what the page already has; without it, nothing is missing but these.
// It runs before the page is there: rows beyond the first ones are then never laid out.
"use strict";
(() => {
  const PAGE = 200; // rows of one list that are shown at once; the style sheet has it too
  const root = document.documentElement;
  const byId = (name) => document.getElementById(name);
  const compare = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;
  const textOf = (node, names) =>
    Array.from(node.querySelectorAll(names), (one) => one.textContent).join("\n");
  const orders = {
    severity: (one, other) => one.rank - other.rank,
    id: (one, other) => compare(one.id, other.id),
    package: (one, other) => compare(one.package, other.package),
  };

  const start = () => {
    const [tools, find, gate, severity, sort, openAll, told] = [
      "tools", "find", "gate", "severity", "sort", "open-all", "told",
    ].map(byId);
    const lists = Array.from(document.querySelectorAll(".rows"), (list) => ({
      list,
      none: list.parentNode.querySelector(`[data-none="${list.id}"]`),
      more: list.parentNode.querySelector(`[data-more="${list.id}"]`),
      room: PAGE,
      rows: Array.from(list.children, (node, place) => ({
        node,
        place,
        fits: true,
        mark: node.dataset.mark,
        severity: node.dataset.severity,
        rank: Number(node.dataset.rank),
        id: textOf(node, ".id"),
        package: node.querySelector(".package").textContent,
        words: null, // read when they are first asked for
      })),
    }));
    const rows = lists.flatMap((one) => one.rows);
    const wordsOf = (row) =>
      (row.words ??= textOf(row.node, "summary, .package, .aliases").toLowerCase());

    // Shows the first of the rows that fit; says how many are left.
    const show = ({ rows: own, none, more, room }) => {
      let count = 0;
      for (const row of own) {
        row.node.hidden = !row.fits;
        if (row.fits) count += 1;
        row.node.classList.toggle("later", row.fits && count > room);
      }
      none.hidden = count > 0;
      more.hidden = count <= room;
      more.textContent = `Show ${Math.min(PAGE, count - room)} more of ${count - room}`;
    };

    const order = () => {
      const [name, way] = sort.value.split("-");
      const sign = way === "down" ? -1 : 1;
      for (const one of lists) {
        one.rows.sort((row, other) => {
          // What is in no package comes last both ways.
          if (name === "package" && !row.package !== !other.package) return row.package ? -1 : 1;
          return sign * orders[name](row, other) || row.place - other.place;
        });
        one.room = PAGE;
        one.list.append(...one.rows.map((row) => row.node));
        show(one);
      }
      told.textContent = `Sorted: ${sort.selectedOptions[0].textContent}`;
    };

    const filter = () => {
      const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const one of lists) {
        for (const row of one.rows) {
          row.fits =
            (!gate.value || row.mark === gate.value) &&
            (!severity.value || row.severity === severity.value) &&
            wanted.every((word) => wordsOf(row).includes(word));
        }
        one.room = PAGE;
        show(one);
      }
      told.textContent = `${rows.filter((row) => row.fits).length} of ${rows.length} match`;
    };

    const showMore = (one) => {
      const next = one.rows.find((row) => row.node.classList.contains("later"));
      one.room += PAGE;
      show(one);
      next.node.querySelector("summary").focus();
    };

    const copy = async (button) => {
      const entry = button.nextElementSibling;
      getSelection().selectAllChildren(entry);
      let done = false;
      try {
        await navigator.clipboard.writeText(entry.textContent);
        done = true;
      } catch {
        done = document.execCommand("copy"); // where a page may not reach the clipboard itself
      }
      button.textContent = done ? "Copied" : "Selected";
      told.textContent = done ? "The entry is copied" : "The entry is selected";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    };

    let waiting = 0;
    find.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, 80);
    });
    find.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      find.value = "";
      filter();
    });
    gate.addEventListener("change", filter);
    severity.addEventListener("change", filter);
    sort.addEventListener("change", order);
    openAll.addEventListener("click", () => {
      const open = openAll.getAttribute("aria-pressed") !== "true";
      for (const { node } of rows) {
        if (!node.hidden && !node.classList.contains("later")) node.firstElementChild.open = open;
      }
      openAll.setAttribute("aria-pressed", String(open));
    });
    for (const one of lists) one.more.addEventListener("click", () => showMore(one));
    document.addEventListener("click", (event) => {
      const button = event.target.closest(".copy");
      if (button) copy(button);
    });

    tools.hidden = false;
    if (sort.value !== "severity-down") order(); // a browser keeps what was chosen over a reload
    filter();
  };

  root.classList.add("scripted", "starting");
  document.addEventListener("DOMContentLoaded", () => {
    try {
      start();
    } catch (error) {
      root.classList.remove("scripted");
      throw error;
    } finally {
      root.classList.remove("starting");
    }
  });
})();

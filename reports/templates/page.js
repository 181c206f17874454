(() => {
  "use strict";
  const ROWS_SHOWN = 12;
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, options = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), options);
    element.append(...children);
    return element;
  };
  root.classList.add("js");

  // One dialog for records and figures; the browser closes it on Esc and gives the focus back.
  const title = make("h2", { id: "dialog-title" });
  const copy = make("button", { type: "button", className: "copy", textContent: "Copy" });
  const close = make("button", { type: "button", className: "close", textContent: "Close" });
  const body = make("div", { className: "dialog-body" });
  const dialog = make("dialog", {}, make("div", { className: "dialog-head" }, title, copy, close), body);
  dialog.setAttribute("aria-labelledby", "dialog-title");
  document.body.append(dialog);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  const show = (heading, content, { copies }) => {
    title.textContent = heading;
    copy.hidden = !copies;
    copy.textContent = "Copy";
    dialog.classList.toggle("wide", !copies);
    body.replaceChildren(content);
    dialog.showModal();
    close.focus();
    dialog.scrollTop = 0;
  };

  // Records.
  const openRecord = (id) => {
    const record = document.getElementById(id);
    if (!record) return;
    show(record.querySelector("summary").textContent, record.querySelector("dl").cloneNode(true), { copies: true });
  };
  const recordText = () =>
    all("dt", body)
      .map((name) => `${name.textContent}: ${name.nextElementSibling.textContent}`)
      .join("\n");
  const copyBySelection = (text) => {
    const area = make("textarea", { value: text });
    body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  copy.addEventListener("click", async () => {
    const text = recordText();
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = copyBySelection(text);
    }
    copy.textContent = done ? "Copied" : "Select and copy by hand";
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.run");
    if (link) {
      event.preventDefault();
      openRecord(link.hash.slice(1));
      return;
    }
    const row = event.target.closest("tr[data-run]");
    if (row && !event.target.closest("a, button") && getSelection().isCollapsed) {
      const own = row.querySelector("a.run");
      if (own) own.focus({ preventScroll: true });
      openRecord(row.dataset.run);
    }
  });
  all("a.run").forEach((link) => link.setAttribute("aria-haspopup", "dialog"));

  // Figures.
  all(".enlarge img").forEach((image) => {
    const button = make("button", { type: "button", className: "zoom" });
    button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    button.setAttribute("aria-haspopup", "dialog");
    image.parentElement.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      const caption = button.parentElement.querySelector("figcaption").cloneNode(true);
      const large = image.cloneNode();
      large.width = 2 * image.getAttribute("width");
      large.removeAttribute("height");
      show(image.alt, make("figure", {}, large, caption), { copies: false });
    });
  });

  // Tables.
  const compare = (one, other) => (typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true }));
  const keyOf = (cell, isNumber) => {
    if (!isNumber) return cell.querySelector(".none") ? null : cell.textContent.trim();
    const number = Number(cell.dataset.sort === undefined ? cell.textContent : cell.dataset.sort);
    return Number.isNaN(number) ? null : number;
  };
  const sortedRows = (rows, column, isNumber, direction) => {
    const keyed = rows.map((row) => [keyOf(row.cells[column], isNumber), row]);
    const known = keyed.filter(([key]) => key !== null);
    const sign = direction === "ascending" ? 1 : -1;
    known.sort(([one], [other]) => sign * compare(one, other));
    return [...known, ...keyed.filter(([key]) => key === null)].map(([, row]) => row);
  };
  const enliven = (table) => {
    const rows = [...table.tBodies[0].rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const headers = [...table.tHead.rows[0].cells];
    const filter = make("input", { type: "search", placeholder: "words, e.g. latent concat" });
    filter.setAttribute("aria-label", "Filter rows");
    const count = make("output");
    const more = make("button", { type: "button" });
    let everything = rows.length <= ROWS_SHOWN;
    let order = rows;
    const update = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = order.filter((row) => words.every((word) => texts.get(row).includes(word)));
      const there = new Set(fits);
      const limit = everything || words.length ? fits.length : ROWS_SHOWN;
      // Baselines and controls are what a score is read beside: the first of each kind is never cut.
      const kept = fits.filter((row, index) => index >= limit && "kept" in row.dataset);
      const shown = new Set([...fits.slice(0, limit), ...kept]);
      order.forEach((row) => row.classList.toggle("out", !there.has(row)));
      fits.forEach((row) => row.classList.toggle("cut", !shown.has(row)));
      const beside = kept.length ? `: the first ${limit}, and the first of each other baseline and control` : "";
      count.value = `${shown.size} of ${rows.length} rows${beside}`;
      more.textContent = everything ? `Show ${ROWS_SHOWN}` : `Show all ${rows.length}`;
      more.hidden = rows.length <= ROWS_SHOWN || words.length > 0;
    };
    headers.forEach((header, column) => {
      if (rows.length < 2) return;
      const isNumber = header.classList.contains("number");
      const button = make("button", { type: "button", className: "sort", textContent: header.textContent });
      header.dataset.title = header.textContent;
      header.replaceChildren(button);
      const steps = isNumber ? ["descending", "ascending", null] : ["ascending", "descending", null];
      button.addEventListener("click", () => {
        const next = steps[(steps.indexOf(header.getAttribute("aria-sort")) + 1) % steps.length];
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) header.setAttribute("aria-sort", next);
        order = next ? sortedRows(rows, column, isNumber, next) : rows;
        table.tBodies[0].append(...order);
        update();
      });
    });
    filter.addEventListener("input", update);
    more.addEventListener("click", () => {
      everything = !everything;
      update();
    });
    if (rows.length > 1) table.parentElement.before(make("div", { className: "tools" }, filter, count, more));
    update();
  };
  all("table.data").forEach(enliven);

  // One label at a time.
  const sections = all("section.label");
  const tabs = all(".labels a");
  const showSection = (section) => {
    sections.forEach((one) => one.classList.toggle("off", one !== section));
    tabs.forEach((tab) => {
      if (tab.hash === `#${section.id}`) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    });
  };
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const section = target && target.closest("section.label");
    showSection(section || sections[0]);
    if (section && target !== section) target.scrollIntoView();
    else if (section) scrollTo(0, 0);
    if (target && target.matches("details")) target.open = true;
  };
  addEventListener("hashchange", follow);
  follow();

  // Light and dark.
  const theme = make("button", { type: "button", className: "theme" });
  const setTheme = (name) => {
    if (name === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = name;
    theme.textContent = `theme: ${name}`;
  };
  const remembered = () => {
    try {
      return localStorage.getItem("blindspot-theme");
    } catch {
      return null;
    }
  };
  setTheme(THEMES.includes(remembered()) ? remembered() : "auto");
  theme.addEventListener("click", () => {
    const name = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
    setTheme(name);
    try {
      localStorage.setItem("blindspot-theme", name);
    } catch {
      return;
    }
  });
  document.querySelector(".bar-top").append(theme);

  // Print everything.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();

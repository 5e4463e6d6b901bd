// The chart, the table's order and the few switches; without it every figure is still on the page.
(() => {
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  for (const select of all("[data-submits]")) select.addEventListener("change", () => select.form.submit());

  for (const button of all("[data-toggles]")) {
    button.addEventListener("click", () => {
      const table = document.getElementById(button.dataset.toggles);
      const chart = document.getElementById(button.dataset.instead);
      table.hidden = !table.hidden;
      chart.hidden = !table.hidden;
      button.setAttribute("aria-expanded", String(!table.hidden));
      button.textContent = table.hidden ? "View as table" : "View as chart";
      if (table.hidden) draw();
    });
  }

  // Links out of the frame: the frame may not navigate the page around it, so that page's own router is asked.
  for (const link of all("[data-opens-dag]")) {
    link.addEventListener("click", (event) => {
      if (window.parent === window) return;
      event.preventDefault();
      const outside = window.parent;
      const base = new URL(outside.document.baseURI).pathname.replace(/\/$/, "");
      outside.history.pushState({}, "", base + link.getAttribute("href"));
      outside.dispatchEvent(new PopStateEvent("popstate"));
    });
  }

  function draw() {
    const place = document.getElementById("day-chart");
    const data = document.getElementById("day-data");
    if (!place || !data || !window.Plotly || place.hidden) return;
    const told = JSON.parse(data.textContent);
    const phone = matchMedia("(max-width: 639px)").matches;
    const traces = told.series.map((one) => ({
      type: "bar",
      name: one.name,
      x: told.days,
      y: one.values,
      marker: { color: colour(one.colour ? `--campaign-${one.colour}` : "--other"), line: { color: colour("--bg"), width: 0.5 } },
      hovertemplate: `${told.unit}%{y:,.0f}`,
    }));
    const grid = document.documentElement.dataset.theme === "dark" ? "#293C51" : "#EDF0F4";
    const font = { family: 'Inter, "Segoe UI", Roboto, "Helvetica Neue", Arial, system-ui, sans-serif', size: 12, color: colour("--muted-text") };
    const monday = told.days.find((day) => new Date(`${day}T00:00Z`).getUTCDay() === 1);
    const weekly = told.days.length > 10 && told.days.length < 45;
    window.Plotly.react(place, traces, {
      barmode: "stack",
      bargap: 0.28,
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font,
      height: phone ? 260 : 356,
      margin: { l: 44, r: 4, t: 8, b: 32 },
      showlegend: !phone && told.series.length > 1,
      legend: { orientation: "h", x: 0.5, xanchor: "center", y: 1.02, yanchor: "bottom", traceorder: "normal" },
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--bg"), bordercolor: colour("--border"), font },
      xaxis: {
        type: "date",
        showgrid: false,
        fixedrange: true,
        tickformat: "%-d %b",
        hoverformat: "%a %-d %b",
        ...(weekly ? { tickmode: "linear", tick0: monday, dtick: 7 * 864e5 } : { nticks: phone ? 4 : 8 }),
      },
      yaxis: { gridcolor: grid, zerolinecolor: colour("--border"), nticks: 5, tickformat: "~s", tickprefix: told.unit, fixedrange: true, rangemode: "tozero" },
    }, { displayModeBar: false, responsive: true });
  }
  document.addEventListener("themed", draw);
  matchMedia("(max-width: 639px)").addEventListener("change", draw);
  draw();

  const table = document.querySelector("table[data-sortable]");
  if (table) {
    const body = table.tBodies[0];
    const heads = all("thead th", table).filter((one) => one.querySelector("button"));
    const order = (key, falling) => {
      const column = heads.findIndex((one) => one.querySelector("button").dataset.key === key);
      const value = (row) => row.cells[column].dataset.value;
      const compare = key === "title"
        ? (one, other) => value(one).localeCompare(value(other))
        : (one, other) => (value(one) === "" ? -Infinity : Number(value(one))) - (value(other) === "" ? -Infinity : Number(value(other))) || 0;
      const rows = [...body.rows].sort((one, other) => (falling ? -compare(one, other) : compare(one, other)));
      body.append(...rows);
      heads.forEach((head, at) => {
        const button = head.querySelector("button");
        const here = at === column;
        head.setAttribute("aria-sort", here ? (falling ? "descending" : "ascending") : "none");
        const next = here ? !falling : button.dataset.key !== "title";
        button.value = (next ? "-" : "") + button.dataset.key;
      });
    };
    for (const head of heads) {
      const button = head.querySelector("button");
      button.addEventListener("click", (event) => {
        event.preventDefault();
        const said = button.value;
        order(button.dataset.key, said.startsWith("-"));
        const here = new URL(location.href);
        here.searchParams.set("sort", said);
        history.replaceState(history.state, "", here);
        all('input[name="sort"]').forEach((one) => { one.value = said; });
      });
    }
  }
})();

// The mapping's search. Without it the page has the first rows, and mapping.csv has all.
"use strict";
(() => {
  const ROWS = 200; // shown at once: typing must never wait
  const box = document.getElementById("find"), field = document.getElementById("query");
  const told = document.getElementById("told"), body = document.getElementById("mapping-rows");
  if (!box) return;
  // one text per stage, a line a generation: "old<TAB>new", or the old id alone where it stays
  const stages = [...document.querySelectorAll("script[data-stage]")].map((part) => ({
    name: part.dataset.stage, text: part.textContent.trim().replaceAll("\\x3c", "<"), count: Number(part.dataset.count),
  }));
  const total = stages.reduce((sum, stage) => sum + stage.count, 0);

  // [stage, line] of the first matches, and how many there are
  function search(query) {
    const pattern = new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
    const found = [];
    let number = 0;
    for (const stage of stages) {
      pattern.lastIndex = 0;
      for (let match; (match = pattern.exec(stage.text)); ) {
        let end = stage.text.indexOf("\n", match.index);
        if (end < 0) end = stage.text.length;
        number += 1;
        if (found.length < ROWS) found.push([stage.name, stage.text.slice(stage.text.lastIndexOf("\n", match.index) + 1, end)]);
        pattern.lastIndex = end + 1;
      }
    }
    return [found, number];
  }

  function first() {
    const found = [];
    for (const stage of stages) {
      for (let start = 0; found.length < ROWS && start < stage.text.length; ) {
        let end = stage.text.indexOf("\n", start);
        if (end < 0) end = stage.text.length;
        found.push([stage.name, stage.text.slice(start, end)]);
        start = end + 1;
      }
    }
    return found;
  }

  function code(text, query) {
    const element = document.createElement("code");
    const at = query ? text.toLowerCase().indexOf(query.toLowerCase()) : -1;
    if (at < 0) element.append(text);
    else {
      const mark = document.createElement("mark");
      mark.append(text.slice(at, at + query.length));
      element.append(text.slice(0, at), mark, text.slice(at + query.length));
    }
    return element;
  }

  function row([stage, line], query) {
    const [old, now] = line.split("\t");
    const line_ = document.createElement("tr");
    for (const content of [stage, code(old, query), now === undefined ? "keeps its name" : code(now, query)]) {
      const cell = document.createElement("td");
      cell.append(content);
      line_.append(cell);
    }
    if (now === undefined) line_.lastChild.className = "dim";
    return line_;
  }

  function show() {
    const query = field.value.trim();
    const [found, number] = query ? search(query) : [first(), total];
    body.replaceChildren(...found.map((one) => row(one, query)));
    const [some, all] = [number.toLocaleString("en"), total.toLocaleString("en")], cut = number > found.length;
    told.textContent = query
      ? `${some} of ${all} match${cut ? `; the first ${found.length} are shown` : ""}`
      : `showing ${cut ? `the first ${found.length} of ` : ""}${some}`;
  }

  box.hidden = false;
  field.addEventListener("input", show);
  show();
})();

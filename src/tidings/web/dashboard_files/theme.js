// Airflow's light or dark, before the first paint and whenever it changes.
(() => {
  const mine = document.documentElement;
  const theirs = (() => { try { return window.parent.document.documentElement; } catch { return mine; } })();
  const follow = () => {
    const dark = theirs !== mine && theirs.classList.contains("dark");
    const light = theirs !== mine && theirs.classList.contains("light");
    if (dark || light) mine.dataset.theme = dark ? "dark" : "light";
    else mine.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.dispatchEvent(new Event("themed"));
  };
  follow();
  if (theirs !== mine) new MutationObserver(follow).observe(theirs, { attributes: true, attributeFilter: ["class"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
})();

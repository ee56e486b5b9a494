// The theme, before anything is drawn: what was chosen in this browser, else what the system has.
(() => {
  const KEY = "caravan-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const apply = () => {
    const chosen = localStorage.getItem(KEY);
    root.dataset.bsTheme = chosen ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply); // chosen in another tab
  addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    localStorage.setItem(KEY, root.dataset.bsTheme === "dark" ? "light" : "dark");
    apply();
  });
})();

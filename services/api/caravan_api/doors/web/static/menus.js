// Menus are `<details>`: they close when somebody looks elsewhere, or presses Escape. On a phone the screens fold away.

addEventListener("click", (event) => {
  document.querySelectorAll("details.menu-button[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  const button = event.target.closest("[data-toggles]");
  if (!button) return;
  const isOpen = document.getElementById(button.dataset.toggles).classList.toggle("show");
  button.setAttribute("aria-expanded", isOpen);
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu-button[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Dialogs are popovers, which browsers open and close by themselves. One closes too once what it asks for was done: by
// htmx, or, where a file comes instead, as soon as the form was sent.

document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
  if (detail.successful) target.closest?.("[popover]:popover-open")?.hidePopover();
});

addEventListener("submit", ({ target }) => {
  if (target.dataset.closes) document.getElementById(target.dataset.closes).hidePopover();
});

addEventListener(
  "toggle",
  ({ target, newState }) => {
    if (newState === "open" && target.matches?.("[popover]")) target.querySelector("input:not([type=hidden]), select")?.focus();
  },
  true, // it does not bubble
);

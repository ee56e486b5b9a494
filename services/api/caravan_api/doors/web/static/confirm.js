// Asks before what cannot be undone: whatever has `hx-confirm` waits for the answer. The dialog stands outside of all
// that is live, so that nothing closes it; `data-yes` at the element is what the button that does it says.

const dialog = document.getElementById("confirm");

document.addEventListener("htmx:confirm", (event) => {
  const { question, elt, issueRequest } = event.detail;
  if (!question || !dialog) return;
  event.preventDefault();
  document.getElementById("confirm-question").textContent = question;
  dialog.querySelector("[data-confirm-yes]").textContent = elt.dataset.yes ?? "Yes";
  dialog.returnValue = "no"; // what Escape means
  dialog.onclose = () => dialog.returnValue === "yes" && issueRequest(true);
  dialog.showModal();
});

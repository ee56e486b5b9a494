// Messages: what was done (`caravan:toast`), what went wrong (`caravan:problem`); the server sends both with its answers.

const STAYS_MS = 5000;
const KEPT = "caravan-toast";
const place = document.getElementById("toasts");

document.addEventListener("caravan:toast", ({ detail }) => {
  const toast = shown("toast-done", "status", detail.text);
  setTimeout(() => toast.remove(), STAYS_MS);
});

document.addEventListener("caravan:problem", ({ detail }) => {
  shown("toast-problem", "alert", detail.title, detail.text, detail.advice); // stays until it was read
});

document.addEventListener("caravan:toast-there", ({ detail }) => {
  sessionStorage.setItem(KEPT, detail.text); // another page is opened now: it says so
});

const kept = sessionStorage.getItem(KEPT);
sessionStorage.removeItem(KEPT);
if (kept) document.dispatchEvent(new CustomEvent("caravan:toast", { detail: { text: kept } }));

function shown(kind, role, ...lines) {
  const toast = document.createElement("div");
  toast.className = `toast show ${kind}`;
  toast.setAttribute("role", role);
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn-close";
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => toast.remove());
  toast.append(close, ...lines.filter(Boolean).map(paragraph));
  place.append(toast);
  return toast;
}

function paragraph(text) {
  const line = document.createElement("p");
  line.textContent = text;
  return line;
}

// What htmx asks: without empty fields, which would only make addresses long; and what it says when nobody answers.

document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.verb !== "get") return;
  for (const [name, value] of [...detail.formData.entries()]) if (value === "") detail.formData.delete(name);
});

document.addEventListener("htmx:sendError", ({ detail }) => {
  if (detail.requestConfig.triggeringEvent?.type.startsWith("live:")) return; // the page says already that it is not live
  const problem = { title: "Caravan does not answer", text: "Nothing was changed, as far as this page knows.", advice: "Trying again helps once it is back." };
  document.dispatchEvent(new CustomEvent("caravan:problem", { detail: problem }));
});

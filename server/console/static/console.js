// In addition to htmx: a hidden page requests nothing, and a page that gets no answer says so.
"use strict";

const stale = document.getElementById("stale");

document.addEventListener("htmx:before:request", (event) => {
  const source = event.detail?.ctx?.sourceEvent;
  if (document.hidden && source?.type === "every") event.preventDefault();
});
document.addEventListener("htmx:after:request", (event) => {
  stale.hidden = (event.detail?.ctx?.response?.status ?? 0) < 400;
});
document.addEventListener("htmx:error", () => {
  stale.hidden = false;
});

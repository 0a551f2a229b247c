"use strict";
// Replaces the sections every ten seconds while the page is visible. Without this file, the link "Refresh" does the same.
const SECONDS = 10;
const sections = document.getElementById("sections");
const button = document.getElementById("updating");
const status = document.getElementById("updating-status");
const fragment = new URL(document.getElementById("refresh").href);
fragment.searchParams.set("fragment", "");
let isUpdating = true;

function say(text) {
  // Announced by screen readers, so only when it changes.
  if (status.textContent !== text) status.textContent = text;
}

function isInUse(section) {
  const chosen = document.getSelection();
  return section.contains(document.activeElement) || (!chosen.isCollapsed && section.contains(chosen.anchorNode));
}

async function update() {
  const answer = await fetch(fragment, { redirect: "error", signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const section of fresh.querySelectorAll("section")) {
    const old = document.getElementById(section.id);
    if (!old || isInUse(old)) continue;
    const scrolled = [...old.querySelectorAll(".scroll")].map((element) => element.scrollLeft);
    old.replaceWith(section);
    section.querySelectorAll(".scroll").forEach((element, place) => { element.scrollLeft = scrolled[place] || 0; });
  }
}

async function tick() {
  if (isUpdating && !document.hidden) {
    try {
      await update();
      say("");
    } catch {
      say("The numbers are not up to date: the service did not answer, or you have signed out.");
    }
  }
  window.setTimeout(tick, SECONDS * 1000);
}

button.hidden = false;
button.addEventListener("click", () => {
  isUpdating = !isUpdating;
  button.setAttribute("aria-pressed", String(isUpdating));
});
window.setTimeout(tick, SECONDS * 1000);

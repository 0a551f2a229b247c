"use strict";
// What a mailed link holds stands behind the #, which no server and no log sees. It is taken out of the address bar at once,
// and sent when somebody presses the button: a program that looks into mails follows links, but presses nothing.
const form = document.getElementById("account");
const done = document.getElementById("done");
const problem = document.getElementById("problem");
const token = window.location.hash.slice(1);
window.history.replaceState(null, "", window.location.pathname);
// Another link, followed where this page is open already, loads nothing by itself.
window.addEventListener("hashchange", () => window.location.reload());

function complain(text) {
  problem.textContent = text;
  problem.hidden = false;
}

async function send() {
  const response = await fetch(form.dataset.action, {
    method: "POST",
    credentials: "omit",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
  });
  if (response.ok) {
    form.hidden = true;
    done.hidden = false;
    return;
  }
  const answer = await response.json();
  complain(answer.errors ? answer.errors.map((error) => error.detail).join(" ") : answer.detail);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.hidden = true;
  const button = form.querySelector("button");
  button.disabled = true;
  send()
    .catch(() => complain("The service cannot be reached. Try again."))
    .finally(() => { button.disabled = false; });
});

if (token) form.hidden = false;
else complain("The link is not complete. Follow it from the mail again, or copy all of it.");

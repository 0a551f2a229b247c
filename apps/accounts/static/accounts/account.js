"use strict";
// The link's token follows the #, so it is in no request and no log. The page removes it from the address bar at once, and sends
// it when the user presses the button: programs that scan mails open links, but press no buttons.
const form = document.getElementById("account");
const done = document.getElementById("done");
const problem = document.getElementById("problem");
const token = window.location.hash.slice(1);
window.history.replaceState(null, "", window.location.pathname);
// Opening another link in the same tab changes only the hash, which reloads nothing.
window.addEventListener("hashchange", () => window.location.reload());

function showProblem(text) {
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
  showProblem(answer.errors ? answer.errors.map((error) => error.detail).join(" ") : answer.detail);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.hidden = true;
  const button = form.querySelector("button");
  button.disabled = true;
  send()
    .catch(() => showProblem("The service cannot be reached. Try again later."))
    .finally(() => { button.disabled = false; });
});

if (token) form.hidden = false;
else showProblem("The link is incomplete. Open it from the mail again, or copy all of it.");

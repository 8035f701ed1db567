"use strict";
// Asks the device for what the page's form says, and sends the answer with it.
const form = document.querySelector("form[data-passkey]");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("passkey-problem");
  const button = form.querySelector("button");
  problem.hidden = true;
  // Browsers ask for one at a time.
  button.disabled = true;
  try {
    const { publicKey } = JSON.parse(form.dataset.options);
    const credential =
      form.dataset.passkey === "create"
        ? await navigator.credentials.create({
            publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey),
          })
        : await navigator.credentials.get({
            publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey),
          });
    form.elements.answer.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch (error) {
    // Of a refusal browsers tell no more than that there was one.
    button.disabled = false;
    problem.hidden = false;
    problem.focus();
  }
});

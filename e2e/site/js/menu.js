/*
 * Opens and closes the main menu on narrow screens.
 * Without this script the menu is simply always closed there, and the footer
 * of each page still links home.
 */
(function () {
  "use strict";

  var button = document.querySelector(".menu-button");
  var menu = document.getElementById("site-menu");

  if (!button || !menu) {
    return;
  }

  function setOpen(isOpen) {
    menu.classList.toggle("is-open", isOpen);
    button.setAttribute("aria-expanded", String(isOpen));
  }

  button.addEventListener("click", function () {
    setOpen(!menu.classList.contains("is-open"));
  });

  // Escape closes the menu and gives the focus back to its button
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && menu.classList.contains("is-open")) {
      setOpen(false);
      button.focus();
    }
  });
})();

/*
 * Fills the list of targets on the home page from a small JSON file.
 */
(function () {
  "use strict";

  var section = document.querySelector("[data-targets]");

  if (!section || !window.fetch) {
    return;
  }

  var list = section.querySelector(".target-list");

  function describe(target) {
    var text = target.name + ", " + target.kind + " in " + target.constellation;
    if (target.eyepiece) {
      text = text + " (" + target.eyepiece + " mm)";
    }
    return text;
  }

  function show(targets) {
    targets.forEach(function (target) {
      var item = document.createElement("li");
      item.textContent = describe(target);
      if (target.hard) {
        item.className = "is-hard";
      }
      list.appendChild(item);
    });
  }

  function showProblem() {
    var item = document.createElement("li");
    item.textContent = "The list did not load. The same list hangs inside the dome door.";
    list.appendChild(item);
  }

  window
    .fetch(section.getAttribute("data-source"))
    .then(function (response) {
      if (!response.ok) {
        throw new Error("status " + response.status);
      }
      return response.json();
    })
    .then(function (data) {
      show(data.targets);
    })
    .catch(showProblem);
})();

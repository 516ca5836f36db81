/*
 * Names the stars of the chart: click near a disc to learn which one it is.
 * The chart itself is an ordinary picture and needs none of this.
 */
(function () {
  "use strict";

  var CHART_WIDTH = 600;
  var CHART_HEIGHT = 400;

  // A click further than this from every star names none of them
  var REACH = 18;

  var figure = document.querySelector("[data-chart]");

  if (!figure || !window.fetch) {
    return;
  }

  var picture = figure.querySelector("img");
  var answer = figure.querySelector("[data-chart-answer]");
  var allStars = [];

  // Where the click fell, in the units of the chart
  function chartPoint(event) {
    var box = picture.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * CHART_WIDTH,
      y: ((event.clientY - box.top) / box.height) * CHART_HEIGHT
    };
  }

  function distance(star, point) {
    var dx = star.x - point.x;
    var dy = star.y - point.y;
    return Math.sqrt(dx * dx + dy * dy);
  }

  function nearest(point) {
    var best = null;
    var bestDistance = REACH;

    allStars.forEach(function (star) {
      var d = distance(star, point);
      if (d < bestDistance) {
        best = star;
        bestDistance = d;
      }
    });

    return best;
  }

  function describe(star) {
    if (star === null) {
      return "No star of ours is there.";
    }
    return star.name + ", magnitude " + star.magnitude + ", " + star.colour + ".";
  }

  picture.addEventListener("click", function (event) {
    answer.textContent = describe(nearest(chartPoint(event)));
  });

  window
    .fetch("/data/stars.json")
    .then(function (response) {
      return response.json();
    })
    .then(function (data) {
      allStars = data.stars;
    })
    .catch(function () {
      answer.textContent = "The names did not load. Ask whoever holds the key.";
    });
})();

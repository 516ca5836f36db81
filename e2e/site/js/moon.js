/*
 * Writes tonight's phase of the moon into the footer.
 * The arithmetic is good to about half a day, which is as good as anybody's
 * memory of last week.
 */
(function () {
  "use strict";

  // Days between one new moon and the next, on average
  var MONTH = 29.530588853;

  // A new moon to count from: 6 January 2000, 18:14 UTC
  var KNOWN_NEW_MOON = Date.UTC(2000, 0, 6, 18, 14, 0);

  var PHASES = [
    "new",
    "a waxing crescent",
    "at first quarter",
    "waxing gibbous",
    "full",
    "waning gibbous",
    "at last quarter",
    "a waning crescent"
  ];

  function ageInDays(now) {
    var days = (now - KNOWN_NEW_MOON) / 86400000;
    return ((days % MONTH) + MONTH) % MONTH;
  }

  function phaseName(now) {
    var index = Math.round((ageInDays(now) / MONTH) * PHASES.length);
    return PHASES[index % PHASES.length];
  }

  var place = document.querySelector("[data-moon-phase]");

  if (place) {
    place.textContent = phaseName(Date.now());
  }
})();

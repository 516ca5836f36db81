// Names that the other script and the page use
var SITE = { name: "Saltmarsh Harbour", themes: ["light", "dark"] };

function nextTheme(current) {
  var at = SITE.themes.indexOf(current);
  return SITE.themes[(at + 1) % SITE.themes.length];
}

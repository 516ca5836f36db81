/*
 * Makes the text of a long page larger. The pages call it by name, from the
 * button above the text.
 */
var READER = { sizes: [100, 115, 130], at: 0 };

function growText(button) {
  READER.at = (READER.at + 1) % READER.sizes.length;
  document.getElementById("content").style.fontSize = READER.sizes[READER.at] + "%";
  button.nextElementSibling.textContent = READER.sizes[READER.at] + " %";
}

function toggleTheme(button) {
  var output = button.parentNode.querySelector("output");
  output.textContent = nextTheme(output.textContent);
  document.body.classList.toggle("dark", output.textContent === "dark");
}

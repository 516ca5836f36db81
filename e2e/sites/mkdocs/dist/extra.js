var bells = 0;
function countBells() {
  bells += 1;
  document.querySelector('[data-e2e-result]').textContent = String(bells);
}

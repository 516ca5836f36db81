import { label } from './label.js';

let count = CONFIG.start;
const output = document.querySelector('[data-e2e-result]');
output.textContent = label(count);
document.querySelector('[data-e2e-click]').addEventListener('click', () => {
  count += 1;
  output.textContent = label(count);
});

var SITE = { open: false };
function toggleMenu(button) {
  SITE.open = !SITE.open;
  document.body.className = SITE.open ? 'menu-open' : '';
  button.nextElementSibling.textContent = SITE.open ? 'open' : 'closed';
}

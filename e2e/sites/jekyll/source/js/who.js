// Reads its own element, as embeds do
var me = document.currentScript;
var line = document.createElement('p');
line.textContent = 'Office hours ' + me.getAttribute('data-office') + ', channel ' + me.dataset.channel + ', menu ' + (SITE.open ? 'open' : 'closed') + '.';
me.parentNode.insertBefore(line, me);

var bell = { rung: 0 };
function ring(output) { bell.rung += 1; output.textContent = 'rung ' + bell.rung; }

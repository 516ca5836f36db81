const t="/img/chart.png";export{t as _};

const o="/img/harbour.png",s="/img/boat.png";export{o as _,s as a};

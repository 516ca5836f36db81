import{j as e}from"./index-DPNdF0IV.js";function t({text:r}){return e.jsx("pre",{children:e.jsx("code",{children:r})})}export{t as default};

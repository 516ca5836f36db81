export const label = count => `${count} ${CONFIG.unit}`;

var CONFIG = { unit: 'boats', start: 3 };

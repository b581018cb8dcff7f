/** Of this front end; a test holds it to package.json. */
export const VERSION = '0.1.0';

/** Of the contract with the server extension (docs/jupyter.md). */
export const API = 1;

/** The version of this front end; a test compares it with package.json. */
export const VERSION = '0.1.0';

/** The version of the contract with the server extension (docs/jupyter.md). */
export const API = 1;

import { defineConfig } from 'vitest/config';

// JupyterLab's packages are ES modules without saying so: vite has to transform them.
export default defineConfig({
  test: {
    environment: 'node',
    include: ['tests/**/*.spec.ts'],
    server: { deps: { inline: [/@jupyterlab/, /@jupyter\//, /@lumino/] } }
  }
});

// Builds the drawing of the notebook's live plot, an ES module of its own: from lib/live/notebookWidget.js, which tsc has made, to
// where the Python package ships it and where the Jupyter server serves the extension.

import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import rspack from '@rspack/core';

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, '..', 'workbench', 'notebook', 'static');
const served = join(here, '..', 'workbench', 'labextension', 'static');

const style = ['plots.css', 'live.css']
  .map(name => readFileSync(join(here, 'style', name), 'utf8'))
  .join('\n')
  .replace(/\/\*[^]*?\*\//g, '')
  .replace(/\s+/g, ' ');

const compiler = rspack({
  mode: 'production',
  context: here,
  entry: './lib/live/notebookWidget.js',
  devtool: false,
  target: ['web', 'es2022'],
  output: {
    path: out,
    filename: 'live.js',
    module: true,
    chunkFormat: 'module',
    library: { type: 'module' }
  },
  optimization: { splitChunks: false },
  performance: { hints: false },
  plugins: [new rspack.DefinePlugin({ STYLE: JSON.stringify(style) })]
});

compiler.run((error, stats) => {
  if (error || stats.hasErrors()) {
    console.error(error ?? stats.toString('errors-only'));
    process.exit(1);
  }
  mkdirSync(served, { recursive: true });
  copyFileSync(join(out, 'live.js'), join(served, 'live.js'));
  console.log(`live.js: ${statSync(join(out, 'live.js')).size} bytes`);
  compiler.close(() => undefined);
});

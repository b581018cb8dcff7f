// What is sent to a page for each live plot, and saved with the notebook where widgets are: it fetches the drawing,
// which is a hundred times larger, from the page's own Jupyter server; where that has none, from the kernel.

const API = 1;
const STREAM = Symbol.for('infer-workbench.stream');

function served() {
  const config = document.getElementById('jupyter-config-data')?.textContent;
  if (!config) {
    return null;
  }
  const { fullLabextensionsUrl, baseUrl } = JSON.parse(config);
  const folder = fullLabextensionsUrl ?? `${baseUrl ?? '/'}lab/extensions`;
  return new URL(`${folder.replace(/\/$/, '')}/infer-workbench/static/live.js`, location.href).href;
}

async function fromServer() {
  const url = served();
  if (url === null) {
    return null;
  }
  try {
    const found = await fetch(url, { credentials: 'same-origin' });
    // Asked for first: an import that fails is an error in the page's console. A login page is no script either.
    if (!found.ok || !(found.headers.get('content-type') ?? '').includes('javascript')) {
      return null;
    }
    const module = await import(/* webpackIgnore: true */ url);
    return module.API === API ? module : null;
  } catch {
    return null;
  }
}

function fromKernel(model) {
  return new Promise(resolve => {
    const hear = async (message, buffers) => {
      if (message.type === 'bundle') {
        model.off('msg:custom', hear);
        const url = URL.createObjectURL(new Blob([buffers[0]], { type: 'text/javascript' }));
        resolve(await import(/* webpackIgnore: true */ url));
      }
    };
    model.on('msg:custom', hear);
    model.send({ type: 'bundle' });
  });
}

/** Once a page, whatever the number of plots. */
function drawing(model) {
  const page = (globalThis[Symbol.for('infer-workbench.live')] ??= {});
  page.served ??= fromServer();
  return page.served.then(module => module ?? (page.bundle ??= fromKernel(model)));
}

export default {
  initialize({ model }) {
    // The first message of a widget waits for the running cell; JupyterLab sends those after it past that, by a subshell
    // which the first one has started.
    model.send({ type: 'hello' });
    if (globalThis[STREAM] && model.get('_shared')) {
      setTimeout(() => model.send({ type: 'leave' }), 300); // this page hears of the service without the kernel
    }
  },
  async render({ model, el }) {
    const module = await drawing(model);
    return module.render({ model, el });
  }
};

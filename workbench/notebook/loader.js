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

// What is asked before the kernel has a thread for it (JupyterLab starts one: a subshell) waits for the running cell.
const AGAIN_MS = 2000;

function fromKernel(model) {
  return new Promise(resolve => {
    const ask = () => model.send({ type: 'bundle' });
    const again = setTimeout(ask, AGAIN_MS);
    const hear = async (message, buffers) => {
      if (message.type === 'bundle') {
        clearTimeout(again);
        model.off('msg:custom', hear);
        const url = URL.createObjectURL(new Blob([buffers[0]], { type: 'text/javascript' }));
        resolve(await import(/* webpackIgnore: true */ url));
      }
    };
    model.on('msg:custom', hear);
    ask();
  });
}

/** Once a page, whatever the number of plots. */
function drawing(model) {
  const page = (globalThis[Symbol.for('infer-workbench.live')] ??= {});
  page.served ??= fromServer();
  return page.served.then(module => module ?? (page.bundle ??= fromKernel(model)));
}

const WORDS_MS = 500;

/** Says what it waits for, unless the drawing is there at once. */
function sayWaiting(el) {
  const timer = setTimeout(() => {
    const words = document.createElement('p');
    words.className = 'iw-Live';
    words.setAttribute('role', 'status');
    words.textContent = 'The drawing comes from the kernel, and waits until that is free.';
    el.replaceChildren(words);
  }, WORDS_MS);
  return () => clearTimeout(timer);
}

const SETTLED_MS = 1000;

/** The widgets that are drawn by this module. */
const drawn = new WeakSet();

/** Whether the front-end extension draws this plot instead, from what the page's server tells. */
function toldByServer(model) {
  const { link, service } = globalThis[STREAM]?.state ?? {};
  return model.get('_shared') && link?.kind === 'live' && service?.host === model.get('_host');
}

export default {
  initialize({ model }) {
    // The first message of a widget waits for the running cell; JupyterLab sends those after it past that, by a subshell
    // which is being started meanwhile.
    model.send({ type: 'hello' });
    setTimeout(() => {
      if (!drawn.has(model) && toldByServer(model)) {
        model.send({ type: 'leave' });
      }
    }, SETTLED_MS);
  },
  async render({ model, el }) {
    drawn.add(model);
    const heard = sayWaiting(el);
    const module = await drawing(model);
    heard();
    return module.render({ model, el });
  }
};

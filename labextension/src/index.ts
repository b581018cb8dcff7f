import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'infer-workbench:panel',
  description: 'The side panel of the inference service.',
  autoStart: true,
  activate: () => undefined
};

export default plugin;

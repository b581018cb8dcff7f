import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IServiceModel } from '../tokens';
import { loadOf, replacingQuestion } from './loader';

/** Whether a load may take the place of what is served under `name`: asks where a notebook loaded that. */
export async function mayReplace(
  model: IServiceModel,
  trans: TranslationBundle,
  name: string
): Promise<boolean> {
  const served = model.state.models.find(status => status.name === name && status.routed);
  if (served === undefined) {
    return true;
  }
  // The service itself checks what must not be replaced; who cannot be asked about is not asked about.
  const overview = await model.versions.overview(name).catch(() => null);
  const load = loadOf(overview?.history ?? [], served.version);
  const body = replacingQuestion(trans, name, served.version, load);
  if (body === null) {
    return true;
  }
  const buttons = [
    Dialog.cancelButton({ label: trans.__('Cancel') }),
    Dialog.okButton({ label: trans.__('Replace') })
  ];
  const title = trans.__('Replace what a notebook loaded?');
  return (await showDialog({ title, body, buttons })).button.accept;
}

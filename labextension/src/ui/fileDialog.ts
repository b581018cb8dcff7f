import type { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import type { ITranslator } from '@jupyterlab/translation';
import { isModelPath } from '../service/groupByModel';
import { DOMAIN } from '../tokens';

/** Lets the user choose a model's file; resolves to null if they cancel. */
export async function browse(
  manager: IDocumentManager,
  translator: ITranslator
): Promise<string | null> {
  const { button, value } = await FileDialog.getOpenFiles({
    manager,
    translator,
    title: translator.load(DOMAIN).__('Choose an ONNX model'),
    filter: item => (item.type === 'directory' || isModelPath(item.path) ? {} : null)
  });
  const chosen = button.accept ? value?.find(isFile) : undefined;
  return chosen ? chosen.path : null;
}

/** Without a choice the dialog returns the folder that it showed. */
function isFile(item: Contents.IModel): boolean {
  return item.type !== 'directory';
}

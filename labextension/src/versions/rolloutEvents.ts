import { Notification } from '@jupyterlab/apputils';
import type { Event } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

const ROLLOUT = 'https://infer-workbench.readthedocs.io/events/rollout/v1';

/** What is good or passes goes by itself; what somebody must see stays. */
const SHOWN: Readonly<Record<string, [type: Notification.TypeOptions, autoClose: number | false]>> =
  {
    step: ['info', 5000],
    halted: ['warning', false],
    rolled_back: ['error', false],
    stopped: ['info', 5000],
    done: ['success', 10_000]
  };

/**
 * Tells the user what becomes of each rollout, whether the panel is open or not. A model has one notification, which is
 * replaced, so that short steps do not pile up.
 *
 * @param events - absent where the page runs without a server
 * @param show - opens the versions of a model
 */
export function tellRollouts(
  events: Pick<Event.IManager, 'stream'> | undefined,
  trans: TranslationBundle,
  show: (name: string) => void
): void {
  const shown = new Map<string, string>();
  events?.stream.connect((_, emission) => {
    const { schema_id, event, name, told } = emission as unknown as {
      schema_id: string;
      event?: string;
      name?: string;
      told?: string;
    };
    const how = SHOWN[event ?? ''];
    if (schema_id !== ROLLOUT || name === undefined || how === undefined) {
      return;
    }
    const [type, autoClose] = how;
    const message = trans.__('Rollout of %1, %2', name, told);
    const actions = [{ label: trans.__('Show'), callback: () => show(name) }];
    const before = shown.get(name);
    if (before !== undefined) {
      Notification.dismiss(before);
    }
    shown.set(name, Notification.emit(message, type, { autoClose, actions }));
  });
}

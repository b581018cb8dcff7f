import { Notification } from '@jupyterlab/apputils';
import type { Event } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

const SHARE = 'https://infer-workbench.readthedocs.io/events/share/v1';

/**
 * Tells the user of the first call of each share, whether the panel is open or not.
 *
 * @param events - absent where the page runs without a server
 * @param show - opens the list of shares
 */
export function tellFirstCalls(
  events: Pick<Event.IManager, 'stream'> | undefined,
  trans: TranslationBundle,
  show: () => void
): void {
  events?.stream.connect((_, emission) => {
    const { schema_id, event, label, models } = emission as unknown as {
      schema_id: string;
      event?: string;
      label?: string;
      models?: readonly string[];
    };
    if (schema_id === SHARE && event === 'first_call') {
      Notification.info(
        trans.__('%1 made its first call: the share of %2 is in use', label, models?.join(', ')),
        { autoClose: 10_000, actions: [{ label: trans.__('Show'), callback: show }] }
      );
    }
  });
}

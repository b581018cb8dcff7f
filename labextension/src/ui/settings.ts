/** Reads the user's settings, and stores the collapse state. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { IStateDB } from '@jupyterlab/statedb';
import { type ISignal, Signal } from '@lumino/signaling';
import type { CollapseState } from './collapseState';
import { PluginIDs } from '../tokens';

/** The settings of schema/panel.json. */
export interface ISettings {
  readonly sparkline: 'requests_per_s' | 'p50_s';
  readonly updatesPerSecond: number;
  readonly confirmStop: boolean;
  readonly confirmUnload: boolean;
}

export const DEFAULTS: ISettings = {
  sparkline: 'requests_per_s',
  updatesPerSecond: 4,
  confirmStop: true,
  confirmUnload: true
};

interface ILiveSettings {
  readonly composite: ISettings;
  readonly changed: ISignal<unknown, void>;
}

/** The settings, or the defaults if there is no registry or it cannot be read. */
export async function settingsOf(registry: ISettingRegistry | null): Promise<ILiveSettings> {
  try {
    if (registry) {
      const loaded = await registry.load(PluginIDs.panel);
      return {
        get composite() {
          return { ...DEFAULTS, ...loaded.composite } as ISettings;
        },
        changed: loaded.changed
      };
    }
  } catch (reason) {
    console.warn('infer-workbench: the settings could not be read', reason);
  }
  return { composite: DEFAULTS, changed: new Signal({}) };
}

/** Restores the collapse state of the last page, and saves each change from now on. */
export async function rememberCollapseState(
  collapseState: CollapseState,
  state: IStateDB | null
): Promise<void> {
  const key = `${PluginIDs.panel}:folds`;
  collapseState.changed.connect((_, byUser) => {
    if (byUser) {
      void state?.save(key, collapseState.save());
    }
  });
  collapseState.restore(await state?.fetch(key));
}

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IRollout, IRolloutRequest, IVersionOverview } from '../service/versionWire';
import { capitalized } from '../ui/labels';
import { spelled, stepsText } from './rolloutLabels';
import { isSplit, percent, rollbackGoesTo, routedText } from './versionLabels';
import type { Versions } from './versionsModel';

/** Asks the user; resolves to whether they agree. */
export type Ask = (title: string, body: string, label: string) => Promise<boolean>;

/**
 * What can be done with the versions of a model. Each asks first where it changes what serves, resolves to what came of it,
 * or to null where the user does not want it, and rejects with a RequestError.
 */
export class VersionActions {
  constructor(
    private readonly _versions: Versions,
    private readonly _trans: TranslationBundle,
    private readonly _ask: Ask
  ) {}

  async promote(name: string, version: string): Promise<string | null> {
    const trans = this._trans;
    const agreed = await this._ask(
      trans.__('Promote version %1 of %2?', version, name),
      trans.__(
        'Version %1 then answers all calls that name no version. No call fails because of it, and a rollback takes it back.',
        version
      ),
      trans.__('Promote')
    );
    return agreed ? routedText(trans, await this._versions.route(name, { [version]: 1 })) : null;
  }

  async split(
    name: string,
    weights: Readonly<Record<string, number>>,
    by: string
  ): Promise<string | null> {
    const trans = this._trans;
    const parts = Object.entries(weights).filter(([, weight]) => weight > 0);
    const told = parts.map(([version, weight]) =>
      trans.__('version %1 %2', version, percent(weight))
    );
    const agreed = await this._ask(
      parts.length > 0
        ? trans.__('Split the calls of %1?', name)
        : trans.__('End the split of %1?', name),
      parts.length > 0
        ? trans.__(
            'Of the calls that name no version get: %1. The version that serves gets the rest.',
            told.join(', ')
          )
        : trans.__('The version that serves then gets all calls that name no version.'),
      parts.length > 0 ? trans.__('Split') : trans.__('End the split')
    );
    return agreed
      ? routedText(trans, await this._versions.route(name, Object.fromEntries(parts), by))
      : null;
  }

  async rollback(name: string, found: IVersionOverview): Promise<string | null> {
    const trans = this._trans;
    const back = rollbackGoesTo(found) ?? '';
    const agreed = await this._ask(
      trans.__('Roll %1 back?', name),
      isSplit(found.versions)
        ? trans.__('The split ends: version %1 gets all calls that name no version.', back)
        : trans.__('Version %1, which served before, then answers all calls that name none.', back),
      trans.__('Roll back')
    );
    return agreed ? routedText(trans, await this._versions.rollback(name)) : null;
  }

  async beginRollout(name: string, asked: IRolloutRequest): Promise<string | null> {
    const trans = this._trans;
    const { version, steps, every_s, guard } = asked;
    const agreed = await this._ask(
      trans.__('Roll version %1 of %2 out?', version, name),
      trans.__(
        'It gets %1 of the calls that name no version, each for %2 or until there are enough to tell. Where %3 does not hold, it gets none any more, at once.',
        stepsText(trans, steps),
        spelled(every_s),
        guard
      ),
      trans.__('Roll out')
    );
    return agreed ? capitalized((await this._versions.beginRollout(name, asked)).told) : null;
  }

  async stopRollout(name: string, { version }: IRollout): Promise<string | null> {
    const trans = this._trans;
    const agreed = await this._ask(
      trans.__('Stop the rollout of %1?', name),
      trans.__('Version %1 then gets no calls but those that name it.', version),
      trans.__('Stop')
    );
    return agreed ? capitalized((await this._versions.stopRollout(name)).told) : null;
  }

  /** Changes nothing of which version gets which calls at once, so it does not ask. */
  async resumeRollout(name: string): Promise<string> {
    return capitalized((await this._versions.resumeRollout(name)).told);
  }

  /** Has exactly these labels point to the version. They change no call but those that name them. */
  async label(
    name: string,
    version: string,
    before: readonly string[],
    after: readonly string[]
  ): Promise<string | null> {
    const gone = before.filter(label => !after.includes(label)).map(label => [label, null]);
    const now = after.filter(label => !before.includes(label)).map(label => [label, version]);
    if (gone.length + now.length === 0) {
      return null;
    }
    await this._versions.label(name, Object.fromEntries([...gone, ...now]));
    return after.length > 0
      ? this._trans.__('Version %1 is called %2', version, after.join(', '))
      : this._trans.__('Version %1 has no label', version);
  }

  async unload(name: string, version: string): Promise<string | null> {
    const trans = this._trans;
    const agreed = await this._ask(
      trans.__('Unload version %1 of %2?', version, name),
      trans.__(
        'What is under way is finished. Calls that name this version get errors from then on, and its part of the others goes to the version that serves.'
      ),
      trans.__('Unload')
    );
    if (!agreed) {
      return null;
    }
    await this._versions.unload(name, version);
    return trans.__('Version %1 is unloaded', version);
  }
}

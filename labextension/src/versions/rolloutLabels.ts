/** Texts about a rollout. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Finding, IRollout, IRolloutClause, RolloutStatus } from '../service/versionWire';
import { capitalized, type Tone } from '../ui/labels';
import { percent } from './versionLabels';

/** How it stands, as a coloured word. */
export function rolloutState(
  trans: TranslationBundle,
  status: RolloutStatus
): [tone: Tone, word: string] {
  switch (status) {
    case 'running':
      return ['busy', trans.__('Under way')];
    case 'halted':
      return ['bad', trans.__('Halted')];
    case 'rolled back':
      return ['bad', trans.__('Rolled back')];
    case 'stopped':
      return ['off', trans.__('Stopped')];
    case 'done':
      return ['good', trans.__('Done')];
  }
}

/** What the calls so far say of a clause, as a coloured word. */
export function clauseState(
  trans: TranslationBundle,
  finding: Finding
): [tone: Tone, word: string] {
  switch (finding) {
    case 'holds':
      return ['good', trans.__('Holds')];
    case 'breached':
      return ['bad', trans.__('Breached')];
    case 'too little to tell':
      return ['off', trans.__('Too few calls yet')];
    case 'not judged':
      return ['off', trans.__('Nothing to compare with')];
  }
}

/** What a clause rests on: "1.2 ms, and 1.1 ms of version 1; 412 calls". */
export function clauseText(trans: TranslationBundle, { measured, calls }: IRolloutClause): string {
  const told = trans._n('%2 call', '%2 calls', calls, calls.toLocaleString('en-US'));
  return measured ? `${measured}; ${told}` : told;
}

/**
 * Where it is: "Step 2 of 4: version 2 gets 10 % of the calls, for 4 min 10 s more".
 *
 * @param now - Unix seconds, of the service's clock
 */
export function rolloutText(trans: TranslationBundle, rollout: IRollout, now: number): string {
  const { version, status, step, steps, step_ends_at } = rollout;
  const part = percent(steps[step - 1] ?? 0);
  const count = steps.length;
  switch (status) {
    case 'running': {
      const left_s = step_ends_at - now;
      const at = trans.__(
        'Step %1 of %2: version %3 gets %4 of the calls',
        step,
        count,
        version,
        part
      );
      return left_s > 0
        ? trans.__('%1, for %2 more', at, spelled(left_s))
        : trans.__('%1, until there are enough to tell', at);
    }
    case 'halted':
      return trans.__('Version %1 keeps its part of the calls, and gets no more', version);
    case 'rolled back':
    case 'stopped':
      return trans.__('Version %1 gets no calls but those that name it', version);
    case 'done':
      return steps[steps.length - 1] === 1
        ? trans.__('Version %1 got through all steps, and serves', version)
        : trans.__('Version %1 got through all steps, and keeps %2 of the calls', version, part);
  }
}

/** Why it does not run any more, as a sentence; a clause at its beginning stays as it is written in guards. */
export function reasonText({ reason }: IRollout): string {
  return /^\w+[<>]/.test(reason) ? reason : capitalized(reason);
}

/** The parts of the calls of all steps: "10 %, then 50 %, then 100 %". */
export function stepsText(trans: TranslationBundle, steps: readonly number[]): string {
  return steps.map(percent).join(trans.__(', then '));
}

/** A time in whole units: 45 is "45 s", 250 "4 min 10 s", 9000 "2 h 30 min". */
export function spelled(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  const [hours, minutes, rest] = [
    Math.floor(whole / 3600),
    Math.floor((whole % 3600) / 60),
    whole % 60
  ];
  const parts =
    hours > 0
      ? [`${hours} h`, minutes && `${minutes} min`]
      : [minutes && `${minutes} min`, rest && `${rest} s`];
  return parts.filter(Boolean).join(' ');
}

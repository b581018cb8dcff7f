import * as React from 'react';
import type { INewShare, IShare } from '../service/shareWire';
import {
  countLimits,
  type IShareDraft,
  moreLimits,
  type ShareField,
  toShareTerms
} from '../share/shareForm';
import { capitalized } from '../ui/labels';
import { Collapsible } from './collapsible';
import { ModelField } from './modelField';
import { useCollapse, usePanel } from './panelContext';
import { Button, ErrorMessage, Field } from './primitives';

interface IFormProps {
  readonly names: readonly string[];
  readonly shares: readonly IShare[];
  readonly draft: IShareDraft;
  readonly onDraft: React.Dispatch<React.SetStateAction<IShareDraft>>;
  readonly onMade: (made: INewShare) => void;
}

/** A form to make a share. */
export function ShareForm({ names, shares, draft, onDraft, onMade }: IFormProps): JSX.Element {
  const {
    model: { shares: service },
    trans
  } = usePanel();
  const [sharing, setSharing] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const model = names.includes(draft.model) ? draft.model : (names[0] ?? '');
  const { terms, wrong } = toShareTerms(trans, { ...draft, model }, shares);
  const limits = moreLimits(trans);
  const set = countLimits(draft, limits);
  const [moreOpen, setMoreOpen] = useCollapse('share-limits', false);

  const share = async () => {
    if (terms === null || sharing) {
      return;
    }
    setTrouble('');
    setSharing(true);
    try {
      onMade(await service.share(terms));
      onDraft(now => (now.label === draft.label ? { ...now, label: '' } : now));
    } catch (error) {
      setTrouble(capitalized((error as Error).message));
    } finally {
      setSharing(false);
    }
  };

  const field = (key: ShareField, label: string, placeholder: string) => (
    <Field
      label={label}
      key={key}
      text={draft[key]}
      wrong={wrong.get(key) ?? ''}
      placeholder={placeholder}
      onText={typed => onDraft({ ...draft, model, [key]: typed })}
    />
  );

  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Share a model')}
      onSubmit={event => {
        event.preventDefault();
        void share();
      }}
    >
      <div className="iw-Fields">
        <ModelField
          trans={trans}
          names={names}
          value={model}
          onModel={selected => onDraft({ ...draft, model: selected, version: '' })}
        />
        {field('label', trans.__('With'), 'team-a')}
        {field('rate', trans.__('Rate limit'), trans.__('no limit'))}
        {field('expires', trans.__('Expires after'), '7d')}
      </div>
      <div>
        <Collapsible
          label={set > 0 ? trans.__('More limits: %1 set', set) : trans.__('More limits')}
          open={moreOpen || limits.some(each => wrong.has(each.field))}
          onOpen={setMoreOpen}
        >
          <div className="iw-Fields">
            {limits.map(each => field(each.field, each.label, each.none))}
          </div>
          <label className="iw-LoadTests-check iw-NewShare-check">
            <input
              type="checkbox"
              checked={draft.metrics}
              onChange={event => onDraft({ ...draft, model, metrics: event.target.checked })}
            />
            {trans.__('May read the model’s metrics')}
          </label>
        </Collapsible>
      </div>
      <div className="iw-Row">
        <Button label={trans.__('Share')} submit primary disabled={terms === null || sharing} />
      </div>
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
    </form>
  );
}

import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import { copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import type { IView } from '../service/state';
import type { INewShare, IShare } from '../service/shareWire';
import { type IShareDraft, isActive, NEW_SHARE, shareableModels } from '../share/shareForm';
import {
  linkWords,
  modelUses,
  shareFigures,
  shareState,
  shareTermsText,
  suspensions
} from '../share/shareLabels';
import { capitalized } from '../ui/labels';
import { Collapsible } from './collapsible';
import { useIsInView } from './logTail';
import { useCollapse, usePanel } from './panelContext';
import {
  Button,
  ErrorMessage,
  FigureList,
  IconButton,
  Message,
  Section,
  State
} from './primitives';
import { ShareForm } from './newShare';
import { useSignal } from './useSignal';

/** The use of the shares is fetched this often while it is seen. */
const REFRESH_MS = 2000;

/** Shares of the models with others: a form to make one, and the list of all. */
export function EndpointSection({ view }: { view: IView }): JSX.Element {
  const { trans } = usePanel();
  // Kept here, since they are nowhere else, while the section is collapsed or the service away.
  const [made, setMade] = React.useState<INewShare | null>(null);
  const [draft, setDraft] = React.useState<IShareDraft>(NEW_SHARE);
  const isReady = view.service?.state === 'Ready' && view.link.kind === 'live';
  return (
    <Section name="endpoint" title={trans.__('Endpoint')}>
      {isReady ? (
        <Contents view={view} draft={draft} onDraft={setDraft} made={made} onMade={setMade} />
      ) : (
        <p className="iw-Text iw-mod-quiet">
          {trans.__('Sharing needs the service: start it, or load a model.')}
        </p>
      )}
    </Section>
  );
}

interface IContentsProps {
  readonly view: IView;
  readonly draft: IShareDraft;
  readonly onDraft: React.Dispatch<React.SetStateAction<IShareDraft>>;
  readonly made: INewShare | null;
  readonly onMade: (made: INewShare | null) => void;
}

function Contents({ view, draft, onDraft, made, onMade }: IContentsProps): JSX.Element {
  const { model, trans } = usePanel();
  const { shares } = model;
  const all = useSignal(shares.changed, () => shares.all);
  const trouble = useSignal(shares.changed, () => shares.trouble);
  const [refused, setRefused] = React.useState('');
  const [endedOpen, setEndedOpen] = useCollapse('ended-shares', false);
  const root = React.useRef<HTMLDivElement>(null);
  const seen = useIsInView(root);
  React.useEffect(() => {
    void shares.refresh(); // what is not in view is read, too: by a screen reader
    if (!seen) {
      return;
    }
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') {
        void shares.refresh();
      }
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, [shares, seen]);
  const names = shareableModels(view.models, draft);
  const active = all?.filter(isActive) ?? [];
  const ended = all?.filter(share => !isActive(share)).reverse() ?? [];
  const stateOfMade = all?.find(({ id }) => id === made?.id)?.state;

  const revoke = async ({ id, label, models }: IShare) => {
    const { button } = await showDialog({
      title: trans.__('Revoke the share of %1?', label),
      body: trans.__(
        'The next request of %1 to %2 is refused. This cannot be undone; you can share again with a new link.',
        label,
        models.join(', ')
      ),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('Revoke') })
      ]
    });
    if (!button.accept) {
      return;
    }
    setRefused('');
    try {
      await shares.revoke(id);
      root.current?.focus(); // its button goes away
    } catch (error) {
      setRefused(capitalized((error as Error).message));
    }
  };

  const list = (some: readonly IShare[], label: string) => (
    <ul className="iw-Shares" aria-label={label}>
      {some.map(share => (
        <Item key={share.id} share={share} onRevoke={() => void revoke(share)} />
      ))}
    </ul>
  );

  return (
    <div ref={root} className="iw-Endpoint" tabIndex={-1}>
      {names.length > 0 ? (
        <ShareForm
          names={names}
          shares={all ?? []}
          draft={draft}
          onDraft={onDraft}
          onMade={onMade}
        />
      ) : (
        <p className="iw-Text iw-mod-quiet">
          {trans.__('Load a model, and it can be shared with others here.')}
        </p>
      )}
      {made && (
        <ClaimLink key={made.id} made={made} state={stateOfMade} onDone={() => onMade(null)} />
      )}
      <ErrorMessage text={refused} onDismiss={() => setRefused('')} />
      <ErrorMessage text={capitalized(trouble)} />
      {active.length > 0 && list(active, trans.__('Shares'))}
      {ended.length > 0 && (
        <div>
          <Collapsible
            label={trans._n('%1 ended share', '%1 ended shares', ended.length)}
            open={endedOpen}
            onOpen={setEndedOpen}
          >
            {list(ended, trans.__('Ended shares'))}
          </Collapsible>
        </div>
      )}
    </div>
  );
}

interface IClaimLinkProps {
  readonly made: INewShare;
  /** Of the share; undefined until it is listed. */
  readonly state: IShare['state'] | undefined;
  readonly onDone: () => void;
}

/** The link of a share that was just made; it stays until it is dismissed. */
function ClaimLink({ made, state, onDone }: IClaimLinkProps): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const isUsed = state !== undefined && state !== 'unclaimed';
  return (
    <Message tone="info" onDismiss={onDone}>
      <div role="status">{linkWords(trans, made.label, state)}</div>
      {!isUsed && (
        <div className="iw-Endpoint-link">
          <label className="iw-Hidden" htmlFor={id}>
            {trans.__('Link for %1', made.label)}
          </label>
          <input
            id={id}
            className="jp-mod-styled"
            readOnly
            value={made.link}
            onFocus={event => event.target.select()}
          />
          <IconButton
            icon={copyIcon}
            label={trans.__('Copy the link')}
            onClick={() => Clipboard.copyToSystem(made.link)}
          />
        </div>
      )}
    </Message>
  );
}

function Item({ share, onRevoke }: { share: IShare; onRevoke: () => void }): JSX.Element {
  const { trans } = usePanel();
  const now = Date.now() / 1000;
  const [tone, word] = shareState(trans, share, now);
  const figures = shareFigures(trans, share, now);
  return (
    <li className="iw-Share" aria-label={share.label}>
      <div className="iw-Share-head">
        <h3>{share.label}</h3>
        {isActive(share) && (
          <Button
            label={trans.__('Revoke')}
            name={trans.__('Revoke the share of %1', share.label)}
            onClick={onRevoke}
          />
        )}
      </div>
      <State tone={tone} word={word} />
      {suspensions(trans, share).map(words => (
        <ErrorMessage key={words} text={words} />
      ))}
      <p className="iw-Text iw-mod-quiet">{shareTermsText(trans, share, now)}</p>
      {figures.length > 0 && <FigureList figures={figures} />}
      {modelUses(trans, share).map(words => (
        <p key={words} className="iw-Text iw-mod-quiet">
          {words}
        </p>
      ))}
    </li>
  );
}

import { ReactWidget } from '@jupyterlab/ui-components';
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';
import { logText, useLogTail } from '../components/logTail';
import { inferenceIcon } from './icons';
import { type IServiceModel, WidgetIDs } from '../tokens';

const LINES = 500;

/** A tab of the down area with the end of the service's log, which it follows while visible. */
export class LogsWidget extends ReactWidget {
  constructor(
    private readonly _model: IServiceModel,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.id = WidgetIDs.logs;
    this.addClass('iw-Logs');
    this.title.label = _trans.__('Inference logs');
    this.title.icon = inferenceIcon;
    this.title.closable = true;
  }

  protected override render(): JSX.Element {
    return <Logs model={this._model} trans={this._trans} visible={this.isVisible} />;
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.update();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this.update();
  }
}

interface ILogsProps {
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  readonly visible: boolean;
}

function Logs({ model, trans, visible }: ILogsProps): JSX.Element {
  const [follow, setFollow] = React.useState(true);
  const text = React.useRef<HTMLPreElement>(null);
  const { lines, trouble, read } = useLogTail(model, LINES, visible, follow);

  React.useEffect(() => {
    if (follow && text.current) {
      text.current.scrollTop = text.current.scrollHeight;
    }
  }, [lines, follow]);

  return (
    <>
      <div className="iw-Logs-bar">
        <label>
          <input
            type="checkbox"
            className="jp-mod-styled"
            checked={follow}
            onChange={event => setFollow(event.target.checked)}
          />
          {trans.__('Follow')}
        </label>
        <button type="button" className="iw-Link" onClick={read}>
          {trans.__('Refresh')}
        </button>
        <button
          type="button"
          className="iw-Link"
          disabled={!lines?.length}
          onClick={() => Clipboard.copyToSystem((lines ?? []).join('\n'))}
        >
          {trans.__('Copy')}
        </button>
        {trouble && (
          <span className="iw-mod-bad" role="alert">
            {trouble}
          </span>
        )}
      </div>
      <pre ref={text} className="iw-Logs-text" tabIndex={0} aria-label={trans.__('Log lines')}>
        {logText(trans, lines)}
      </pre>
    </>
  );
}

import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import * as React from 'react';
import { Body } from './components/body';
import { type IPanelContext, PanelContext } from './components/context';
import { Folds } from './folds';
import { FrameLoop } from './frames';
import { inferenceIcon } from './icons';
import { Testing } from './testing';
import { type IInferencePanel, WidgetIDs } from './tokens';
import { Watched } from './watched';

export interface IPanelOptions extends Omit<
  IPanelContext,
  'frames' | 'folds' | 'watched' | 'testing' | 'sparkline'
> {
  /** False in JupyterLite. */
  readonly hasServer: boolean;
}

/** What the settings say of the panel. */
export interface IPanelSettings {
  readonly sparkline: IPanelContext['sparkline'];
  readonly updatesPerSecond: number;
}

/** The side panel. It pays attention to the model while it is shown, and draws nothing while it is not. */
export class ServicePanel extends ReactWidget implements IInferencePanel {
  constructor(private readonly _options: IPanelOptions) {
    super();
    const { model, trans } = _options;
    this.id = WidgetIDs.panel;
    this.addClass('iw-Panel');
    this.title.icon = inferenceIcon;
    this.title.caption = trans.__('Inference');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Inference'));
    this._frames = new FrameLoop(model);
    this._context = {
      ..._options,
      frames: this._frames,
      folds: this.folds,
      watched: this.watched,
      testing: this._testing,
      sparkline: 'requests_per_s'
    };
    model.stateChanged.connect(this._draw, this);
  }

  /** What is folded and unfolded in it. */
  readonly folds = new Folds();

  /** The model whose live figures are drawn. */
  readonly watched = new Watched();

  configure({ sparkline, updatesPerSecond }: IPanelSettings): void {
    this._context = { ...this._context, sparkline };
    this._frames.perSecond = updatesPerSecond;
    this._draw();
  }

  reveal(name: string, part: 'try' | 'settings'): void {
    this.folds.set('models', true);
    this.folds.set(`${part}:${name}`, true);
    this._options.model.bring(name);
  }

  revealLoadTests(name: string): void {
    this.folds.set('load-tests', true);
    this._testing.ask(name);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._options.model.stateChanged.disconnect(this._draw, this);
      this._attention?.dispose();
      this._frames.dispose();
      super.dispose();
    }
  }

  protected override render(): JSX.Element {
    const { model, hasServer } = this._options;
    return (
      <PanelContext value={this._context}>
        <Body view={model.state} hasServer={hasServer} />
      </PanelContext>
    );
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._attend();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._attend();
    this.update();
  }

  protected override onBeforeHide(msg: Message): void {
    this._leave();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._leave();
    super.onBeforeDetach(msg);
  }

  private _attend(): void {
    if (this.isVisible && this._attention === null) {
      this._attention = this._options.model.attend();
    }
  }

  private _leave(): void {
    this._attention?.dispose();
    this._attention = null;
  }

  private _draw(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private readonly _testing = new Testing();
  private readonly _frames: FrameLoop;
  private _context: IPanelContext;
  private _attention: IDisposable | null = null;
}

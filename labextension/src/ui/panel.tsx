import * as React from 'react';
import { AttentiveWidget } from './visibleWidget';
import { Body } from '../components/panelBody';
import { type IPanelContext, PanelContext } from '../components/panelContext';
import { Folds } from './collapseState';
import { FrameLoop } from './renderLoop';
import { inferenceIcon } from './icons';
import { Testing } from '../loadtest/loadtestTarget';
import { type IInferencePanel, WidgetIDs } from '../tokens';
import { Watched } from './plotSelection';

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

/** The side panel. */
export class ServicePanel extends AttentiveWidget implements IInferencePanel {
  constructor(private readonly _options: IPanelOptions) {
    super(_options.model);
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
  }

  /** What is folded and unfolded in it. */
  readonly folds = new Folds();

  /** The model whose live figures are drawn. */
  readonly watched = new Watched();

  configure({ sparkline, updatesPerSecond }: IPanelSettings): void {
    this._context = { ...this._context, sparkline };
    this._frames.perSecond = updatesPerSecond;
    this.draw();
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

  private readonly _testing = new Testing();
  private readonly _frames: FrameLoop;
  private _context: IPanelContext;
}

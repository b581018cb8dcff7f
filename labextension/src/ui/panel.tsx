import * as React from 'react';
import { VisibleWidget } from './visibleWidget';
import { Body } from '../components/panelBody';
import { type IPanelContext, PanelContext } from '../components/panelContext';
import { CollapseState } from './collapseState';
import { RenderLoop } from './renderLoop';
import { inferenceIcon } from './icons';
import { LoadtestTarget } from '../loadtest/loadtestTarget';
import { type IInferencePanel, WidgetIDs } from '../tokens';
import { PlotSelection } from './plotSelection';

export interface IPanelOptions extends Omit<
  IPanelContext,
  'renderLoop' | 'collapseState' | 'plotSelection' | 'loadtestTarget' | 'sparkline'
> {
  /** False in JupyterLite. */
  readonly hasServer: boolean;
}

/** The settings that concern the panel. */
export interface IPanelSettings {
  readonly sparkline: IPanelContext['sparkline'];
  readonly updatesPerSecond: number;
}

/** The side panel. */
export class ServicePanel extends VisibleWidget implements IInferencePanel {
  constructor(private readonly _options: IPanelOptions) {
    super(_options.model);
    const { model, trans } = _options;
    this.id = WidgetIDs.panel;
    this.addClass('iw-Panel');
    this.title.icon = inferenceIcon;
    this.title.caption = trans.__('Inference');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Inference'));
    this._renderLoop = new RenderLoop(model);
    this._context = {
      ..._options,
      renderLoop: this._renderLoop,
      collapseState: this.collapseState,
      plotSelection: this.plotSelection,
      loadtestTarget: this._loadtestTarget,
      sparkline: 'requests_per_s'
    };
  }

  /** Which parts are expanded. */
  readonly collapseState = new CollapseState();

  /** Selects the model whose live figures are drawn. */
  readonly plotSelection = new PlotSelection();

  configure({ sparkline, updatesPerSecond }: IPanelSettings): void {
    this._context = { ...this._context, sparkline };
    this._renderLoop.perSecond = updatesPerSecond;
    this.draw();
  }

  reveal(name: string, part: 'try' | 'settings' | 'versions'): void {
    this.collapseState.set('models', true);
    this.collapseState.set(`model:${name}`, true);
    this.collapseState.set(`${part}:${name}`, true);
    this._options.model.reveal(name);
  }

  revealLoadTests(name: string): void {
    this.collapseState.set('load-tests', true);
    this._loadtestTarget.select(name);
  }

  revealEndpoint(): void {
    this.collapseState.set('endpoint', true);
    // After the section has expanded.
    requestAnimationFrame(() =>
      this.node.querySelector('.iw-Endpoint')?.scrollIntoView({ block: 'center' })
    );
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._renderLoop.dispose();
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

  private readonly _loadtestTarget = new LoadtestTarget();
  private readonly _renderLoop: RenderLoop;
  private _context: IPanelContext;
}

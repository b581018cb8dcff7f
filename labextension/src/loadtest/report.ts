import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { inferenceIcon } from '../ui/icons';
import type { ILoadTests } from './loadtestModel';
import { WidgetIDs } from '../tokens';

/** Shows the report of a load test in a frame without scripts. */
export class Report extends Widget {
  constructor(
    private readonly _tests: ILoadTests,
    private readonly _trans: TranslationBundle,
    readonly run: string
  ) {
    super();
    this.addClass('iw-Report');
    this._words.setAttribute('role', 'status');
    this._words.textContent = _trans.__('Fetching the report of %1…', run);
    // Without scripts and origin the report can only be shown.
    this._frame.setAttribute('sandbox', '');
    this._frame.title = _trans.__('Report of the load test %1', run);
    this._frame.hidden = true;
    this.node.append(this._words, this._frame);
    this._themes = new MutationObserver(() => this._draw());
    this._themes.observe(document.body, { attributeFilter: ['data-jp-theme-light'] });
    void this._fetch();
  }

  override dispose(): void {
    this._themes.disconnect();
    super.dispose();
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this._frame.focus();
  }

  private async _fetch(): Promise<void> {
    try {
      this._html = await this._tests.report(this.run);
    } catch (error) {
      this._words.textContent = this._trans.__(
        'The report of %1 could not be fetched: %2',
        this.run,
        (error as Error).message
      );
      return;
    }
    this._words.remove();
    this._frame.hidden = false;
    this._draw();
  }

  /** Makes the report follow JupyterLab's theme; by itself it follows the browser's. */
  private _draw(): void {
    if (this._html) {
      const scheme = document.body.dataset['jpThemeLight'] === 'false' ? 'dark' : 'light';
      const style = `<style>:root { color-scheme: ${scheme} }</style></head>`;
      this._frame.srcdoc = this._html.replace('</head>', style);
    }
  }

  private readonly _words = document.createElement('p');
  private readonly _frame = document.createElement('iframe');
  private readonly _themes: MutationObserver;
  private _html = '';
}

/** Creates a tab with the report. */
export function reportTab(
  tests: ILoadTests,
  trans: TranslationBundle,
  run: string
): MainAreaWidget<Report> {
  const tab = new MainAreaWidget({ content: new Report(tests, trans, run) });
  tab.id = `${WidgetIDs.report}-${run}`;
  tab.title.label = trans.__('Load test %1', run);
  tab.title.icon = inferenceIcon;
  tab.title.closable = true;
  tab.toolbar.hide();
  return tab;
}

import { type ISignal, Signal } from '@lumino/signaling';
import type {
  IComparison,
  ILoadTest,
  IRun,
  IRunFigures,
  IRunList,
  IRunning
} from '../service/wire';

/** How the server extension is asked; each rejects with a RequestError. */
export interface ILoadtestApi {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  text(path: string): Promise<string>;
}

/** The load tests that the server runs for pages, and all that are kept. */
export interface ILoadTests {
  /** Those under way that were begun by a page; replaced some times a second. */
  readonly running: readonly IRunning[];
  /** The kept ones, the latest first; null until they were asked for and told. */
  readonly runs: readonly IRun[] | null;
  /** Why the kept ones could not be told; empty where they could. */
  readonly trouble: string;
  readonly changed: ISignal<ILoadTests, void>;
  /** Ask for the kept ones; from then on they are asked for again whenever there are others. */
  refresh(): Promise<void>;

  /** These reject with a RequestError that whoever asked shows. */
  start(model: string, test: ILoadTest): Promise<string>;
  stop(run: string): Promise<void>;
  figures(run: string): Promise<IRunFigures>;
  compare(run: string, other: string): Promise<IComparison>;
  /** The report: HTML. */
  report(run: string): Promise<string>;
}

/** So many kept ones are listed. */
const LISTED = 30;

export class LoadTests implements ILoadTests {
  constructor(private readonly _ask: ILoadtestApi) {}

  get running(): readonly IRunning[] {
    return this._running;
  }

  get runs(): readonly IRun[] | null {
    return this._runs;
  }

  get trouble(): string {
    return this._trouble;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What the stream tells. */
  update(told: { readonly running: readonly IRunning[]; readonly changes: number }): void {
    this._running = told.running;
    this._changed.emit();
    if (told.changes !== this._changes) {
      this._changes = told.changes;
      this._refreshWanted();
    }
  }

  /** Another connection, perhaps to another server: what is under way is told anew, if anything is. */
  begin(): void {
    this._running = [];
    this._changes = -1;
    this._changed.emit();
    this._refreshWanted();
  }

  async refresh(): Promise<void> {
    this._wanted = true;
    const asked = (this._asked += 1);
    try {
      const list = await this._ask.get<IRunList>(`api/bench?limit=${LISTED}&no_track_activity=1`);
      if (asked === this._asked) {
        this._runs = list.runs;
        this._trouble = '';
      }
    } catch (error) {
      if (asked === this._asked) {
        this._trouble = (error as Error).message;
      }
    }
    this._changed.emit();
  }

  async start(model: string, test: ILoadTest): Promise<string> {
    const { run } = await this._ask.post<{ run: string }>(
      `api/models/${encodeURIComponent(model)}/bench`,
      test
    );
    return run;
  }

  async stop(run: string): Promise<void> {
    await this._ask.post(runPath(run, '/stop'), {});
  }

  figures(run: string): Promise<IRunFigures> {
    return this._ask.get<IRunFigures>(`${runPath(run)}?no_track_activity=1`);
  }

  compare(run: string, other: string): Promise<IComparison> {
    return this._ask.get<IComparison>(runPath(run, `/compare/${encodeURIComponent(other)}`));
  }

  report(run: string): Promise<string> {
    return this._ask.text(runPath(run, '/report'));
  }

  private _refreshWanted(): void {
    if (this._wanted) {
      void this.refresh();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _running: readonly IRunning[] = [];
  private _runs: readonly IRun[] | null = null;
  private _trouble = '';
  private _changes = -1;
  private _wanted = false;
  /** Counts up: of two answers that overtake each other, the one asked for last holds. */
  private _asked = 0;
}

function runPath(run: string, verb = ''): string {
  return `api/bench/${encodeURIComponent(run)}${verb}`;
}

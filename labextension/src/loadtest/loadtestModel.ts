import { type ISignal, Signal } from '@lumino/signaling';
import type {
  IComparison,
  ILoadForm,
  ILoadTest,
  IRun,
  IRunFigures,
  IRunList,
  IRunning
} from '../service/loadtestWire';

/** Requests to the server extension; each rejects with a RequestError. */
export interface ILoadtestApi {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  text(path: string): Promise<string>;
}

/** The load tests that the server runs, and the stored ones. */
export interface ILoadTests {
  /** The running ones that a page started; replaced a few times a second. */
  readonly running: readonly IRunning[];
  /** The stored ones, latest first; null before the first `refresh` is done. */
  readonly runs: readonly IRun[] | null;
  /** Why the last refresh failed; empty if it succeeded. */
  readonly trouble: string;
  readonly changed: ISignal<ILoadTests, void>;
  /** Fetches the stored ones; from then on they are fetched again whenever they change. */
  refresh(): Promise<void>;
  /** The load patterns and their options; fetched once a connection. Rejects with a RequestError. */
  form(): Promise<ILoadForm>;

  /** These reject with a RequestError, which the caller has to show. */
  start(model: string, test: ILoadTest): Promise<string>;
  stop(run: string): Promise<void>;
  figures(run: string): Promise<IRunFigures>;
  compare(run: string, other: string): Promise<IComparison>;
  /** The report as HTML. */
  report(run: string): Promise<string>;
}

/** The most stored runs that are listed. */
const LISTED = 30;

export class LoadTests implements ILoadTests {
  constructor(private readonly _api: ILoadtestApi) {}

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

  /** Handles a `bench` frame of the stream. */
  update(told: { readonly running: readonly IRunning[]; readonly changes: number }): void {
    this._running = told.running;
    this._changed.emit();
    if (told.changes !== this._changes) {
      this._changes = told.changes;
      this._refreshWanted();
    }
  }

  /** Starts over for a new connection, perhaps to another server, which sends the running tests again. */
  reset(): void {
    this._running = [];
    this._form = null;
    this._changes = -1;
    this._changed.emit();
    this._refreshWanted();
  }

  async refresh(): Promise<void> {
    this._wanted = true;
    const asked = (this._asked += 1);
    try {
      const list = await this._api.get<IRunList>(`api/bench?limit=${LISTED}&no_track_activity=1`);
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

  form(): Promise<ILoadForm> {
    this._form ??= this._api
      .get<ILoadForm>('api/load-patterns?no_track_activity=1')
      .catch((error: unknown) => {
        this._form = null;
        throw error;
      });
    return this._form;
  }

  async start(model: string, test: ILoadTest): Promise<string> {
    const { run } = await this._api.post<{ run: string }>(
      `api/models/${encodeURIComponent(model)}/bench`,
      test
    );
    return run;
  }

  async stop(run: string): Promise<void> {
    await this._api.post(runPath(run, '/stop'), {});
  }

  figures(run: string): Promise<IRunFigures> {
    return this._api.get<IRunFigures>(`${runPath(run)}?no_track_activity=1`);
  }

  compare(run: string, other: string): Promise<IComparison> {
    return this._api.get<IComparison>(runPath(run, `/compare/${encodeURIComponent(other)}`));
  }

  report(run: string): Promise<string> {
    return this._api.text(runPath(run, '/report'));
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
  private _form: Promise<ILoadForm> | null = null;
  private _changes = -1;
  private _wanted = false;
  /** Counts the refreshes; only the answer to the last one is used. */
  private _asked = 0;
}

function runPath(run: string, verb = ''): string {
  return `api/bench/${encodeURIComponent(run)}${verb}`;
}

import { type ISignal, Signal } from '@lumino/signaling';
import type { INewShare, IShare, IShareTerms } from '../service/shareWire';

/** Requests to the server extension; each rejects with a RequestError. */
export interface IShareApi {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  remove(path: string): Promise<void>;
}

/** The shares of the service: who else may call its models. */
export interface IShares {
  /** The oldest first; null before the first `refresh` is done. */
  readonly all: readonly IShare[] | null;
  /** Why the last refresh failed; empty if it succeeded. */
  readonly trouble: string;
  readonly changed: ISignal<IShares, void>;
  refresh(): Promise<void>;

  /** These reject with a RequestError, which the caller has to show. */
  share(terms: IShareTerms): Promise<INewShare>;
  revoke(id: string): Promise<void>;
}

export class Shares implements IShares {
  constructor(private readonly _api: IShareApi) {}

  get all(): readonly IShare[] | null {
    return this._all;
  }

  get trouble(): string {
    return this._trouble;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  async refresh(): Promise<void> {
    const asked = (this._asked += 1);
    let all = this._all;
    let trouble = '';
    try {
      all = await this._api.get<readonly IShare[]>('api/shares?no_track_activity=1');
    } catch (error) {
      trouble = (error as Error).message;
    }
    if (asked === this._asked) {
      this._all = all;
      this._trouble = trouble;
      this._changed.emit();
    }
  }

  async share(terms: IShareTerms): Promise<INewShare> {
    const made = await this._api.post<INewShare>('api/shares', terms);
    void this.refresh();
    return made;
  }

  async revoke(id: string): Promise<void> {
    try {
      await this._api.remove(`api/shares/${encodeURIComponent(id)}`);
    } finally {
      void this.refresh();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _all: readonly IShare[] | null = null;
  private _trouble = '';
  /** Counts the refreshes; only the answer to the last one is used. */
  private _asked = 0;
}

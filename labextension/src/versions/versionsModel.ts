import { RequestError } from '../service/requests';
import type {
  IRollout,
  IRolloutRequest,
  IRouted,
  IVersionComparison,
  IVersionOverview
} from '../service/versionWire';

/** Requests to the server extension; each rejects with a RequestError. */
export interface IVersionsApi {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  lines<T>(path: string, onLine: (line: T) => void, signal: AbortSignal): Promise<void>;
}

/** The versions of each model. Nothing is kept: who shows them asks when they change. */
export class Versions {
  constructor(private readonly _api: IVersionsApi) {}

  overview(name: string): Promise<IVersionOverview> {
    return this._api.get(`${path(name)}/versions?no_track_activity=1`);
  }

  /** Splits the calls without a version by weight; one version with all of them serves from then on. */
  route(name: string, weights: Readonly<Record<string, number>>, by = ''): Promise<IRouted> {
    return this._api.post(`${path(name)}/route`, { weights, by });
  }

  /** Ends a split, or else has the version serve that served before. */
  rollback(name: string): Promise<IRouted> {
    return this._api.post(`${path(name)}/rollback`, {});
  }

  /** The last rollout of a model; null if there was none, also of a service that knows none. */
  async rollout(name: string): Promise<IRollout | null> {
    try {
      const at = `${path(name)}/rollout?no_track_activity=1`;
      return (await this._api.get<{ rollout: IRollout | null }>(at)).rollout;
    } catch (error) {
      if (error instanceof RequestError && error.status === 404) {
        return null;
      }
      throw error;
    }
  }

  beginRollout(name: string, asked: IRolloutRequest): Promise<IRollout> {
    return this._api.post(`${path(name)}/rollout`, asked);
  }

  /** Ends a rollout: its version gets no calls but those that name it. */
  stopRollout(name: string): Promise<IRollout> {
    return this._api.post(`${path(name)}/rollout/stop`, {});
  }

  /** Begins the step again in which a rollout was halted. */
  resumeRollout(name: string): Promise<IRollout> {
    return this._api.post(`${path(name)}/rollout/resume`, {});
  }

  /** Has labels point to versions; null takes one away. */
  label(name: string, labels: Readonly<Record<string, string | null>>): Promise<unknown> {
    return this._api.post(`${path(name)}/labels`, labels);
  }

  unload(name: string, version: string): Promise<unknown> {
    return this._api.post(`${path(name)}/versions/${encodeURIComponent(version)}/unload`, {});
  }

  /** Tells each second what the calls of two versions say so far, for `seconds` or until `signal` aborts. */
  compare(
    name: string,
    [first, second]: readonly [string, string],
    seconds: number,
    onReport: (report: IVersionComparison) => void,
    signal: AbortSignal
  ): Promise<void> {
    const pair = `${encodeURIComponent(first)}/${encodeURIComponent(second)}`;
    return this._api.lines(
      `${path(name)}/compare/${pair}?seconds=${seconds}&no_track_activity=1`,
      onReport,
      signal
    );
  }
}

function path(name: string): string {
  return `api/models/${encodeURIComponent(name)}`;
}

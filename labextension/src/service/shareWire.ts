/**
 * Messages about shares: see docs/jupyter.md.
 *
 * Durations end in `_s` (seconds), times are Unix seconds, sizes are bytes.
 */

/** A share to make. */
export interface IShareTerms {
  readonly models: readonly string[];
  readonly label: string;
  /** Null: no limit. */
  readonly rate: string | null;
  readonly expires: string;
  /** Null: no limit. */
  readonly row_rate: string | null;
  /** A day, which is one of UTC. Null: any number. */
  readonly quota: string | null;
  readonly row_quota: string | null;
  /** Null: the service's default. */
  readonly max_in_flight: number | null;
  /** Bytes, such as "1MB". Null: no limit. */
  readonly max_body: string | null;
  /** The only one of the model. Null: the one that serves. */
  readonly version: string | null;
  readonly metrics: boolean;
}

/** A share that was just made. */
export interface INewShare {
  readonly id: string;
  readonly label: string;
  /** Gives the token, once. */
  readonly link: string;
}

/** What a share did, since the service started. Bytes, rows and times are of what was answered. */
export interface IShareUse {
  readonly answered: number;
  readonly errors: number;
  readonly rows: number;
  readonly request_bytes: number;
  readonly response_bytes: number;
  readonly p50_s: number | null;
  readonly p99_s: number | null;
}

/** A share, and its use since the service started. Times are Unix seconds. */
export interface IShare extends IShareUse {
  readonly id: string;
  readonly label: string;
  readonly models: readonly string[];
  readonly state: 'unclaimed' | 'holds' | 'revoked' | 'expired';
  /** Requests a second. */
  readonly rate: number | null;
  /** Rows a second. */
  readonly row_rate: number | null;
  /** Inferences and rows a UTC day. */
  readonly quota: number | null;
  readonly row_quota: number | null;
  readonly day_requests: number;
  readonly day_rows: number;
  readonly max_in_flight: number;
  /** Bytes. */
  readonly max_body: number | null;
  readonly version: string | null;
  /** Whether it may read the metrics of its models. */
  readonly metrics: boolean;
  readonly created_at: number;
  readonly expires_at: number;
  readonly revoked_at: number | null;
  readonly requests: number;
  readonly refused: number;
  readonly in_flight: number;
  readonly last_seen: number | null;
  readonly first_call_at: number | null;
  /** Models that it may not call any more, since its requests ended the service, and how. */
  readonly suspended: Readonly<Record<string, string>>;
  readonly by_model: Readonly<Record<string, IShareUse>>;
}

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import type { IServiceModel } from '../tokens';

const FOLLOW_MS = 2000;

export interface ILogTail {
  /** Null before the first read. */
  readonly lines: readonly string[] | null;
  /** Why the last read failed; empty if it succeeded. */
  readonly trouble: string;
  read(): void;
}

/**
 * Reads the last lines of the service's log.
 *
 * @param shown - whether to read at all
 * @param follow - whether to read repeatedly while the page is visible
 */
export function useLogTail(
  model: IServiceModel,
  count: number,
  shown: boolean,
  follow: boolean
): ILogTail {
  const [lines, setLines] = React.useState<readonly string[] | null>(null);
  const [trouble, setTrouble] = React.useState('');

  const read = React.useCallback(async () => {
    try {
      const found = await model.logs(count);
      setTrouble('');
      setLines(old => (old?.join('\n') === found.join('\n') ? old : found));
    } catch (error) {
      setTrouble((error as Error).message);
    }
  }, [model, count]);

  React.useEffect(() => {
    if (!shown) {
      return;
    }
    void read();
    if (!follow) {
      return;
    }
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') {
        void read();
      }
    }, FOLLOW_MS);
    return () => clearInterval(timer);
  }, [shown, follow, read]);

  return { lines, trouble, read: () => void read() };
}

/** The text of the log, or a placeholder. */
export function logText(trans: TranslationBundle, lines: readonly string[] | null): string {
  if (lines === null) {
    return trans.__('Reading…');
  }
  return lines.length === 0
    ? trans.__('There are no log lines yet: the service has not run here.')
    : lines.join('\n');
}

/** Keeps an element scrolled to its end, unless the user has scrolled away. */
export function useScrollToEnd(text: React.RefObject<HTMLElement>, changed: unknown): void {
  const atEnd = React.useRef(true);
  React.useEffect(() => {
    const element = text.current;
    if (element === null) {
      return;
    }
    const look = () => {
      atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 8;
    };
    element.addEventListener('scroll', look);
    return () => element.removeEventListener('scroll', look);
  }, [text]);
  React.useLayoutEffect(() => {
    if (atEnd.current && text.current) {
      text.current.scrollTop = text.current.scrollHeight;
    }
  }, [text, changed]);
}

/** Whether an element is in view; false while the panel is hidden. */
export function useIsInView(ref: React.RefObject<Element>): boolean {
  const [seen, setSeen] = React.useState(false);
  React.useEffect(() => {
    if (ref.current === null) {
      return;
    }
    const observer = new IntersectionObserver(entries =>
      setSeen(entries[entries.length - 1]?.isIntersecting ?? false)
    );
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, [ref]);
  return seen;
}

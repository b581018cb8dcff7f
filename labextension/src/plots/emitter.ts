import type { IEvent } from './contract';

/** An event with its listeners. */
export class Emitter<T> implements IEvent<T> {
  connect(listener: (value: T) => void): () => void {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this._listeners]) {
      listener(value);
    }
  }

  clear(): void {
    this._listeners.clear();
  }

  private readonly _listeners = new Set<(value: T) => void>();
}

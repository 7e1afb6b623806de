import type { StoreContext } from './context.js';
import type { DirectFlusher } from './direct-flusher.js';
import { recordTypes } from './journal-record.js';
import type { Operation } from './operation.js';

/** Answers operations that asked for more than the page cache: only once a power cut cannot lose them (I-1). */
export class Acknowledgements {
  constructor(
    private readonly context: StoreContext,
    private readonly direct: DirectFlusher,
  ) {}

  /** When the journal is synced up to the batch that holds them. */
  whenSynced(sequence: number, operations: readonly Operation[]): void {
    this.context.journal.onSynced(sequence, (error) => {
      if (!error) this.settle(operations);
      else for (const op of operations) op.reject(error);
    });
  }

  /** Their batch is durable in the journal; the objects' own files come first where bytes went straight there. */
  settle(operations: readonly Operation[]): void {
    const straight = operations.filter((op) => op.parts.some((part) => part.type === recordTypes.direct));
    for (const op of operations) if (!straight.includes(op)) op.resolve();
    if (straight.length === 0) return;
    this.direct.flush().then(
      () => {
        for (const op of straight) op.resolve();
      },
      (error: Error) => {
        for (const op of straight) op.reject(error);
      },
    );
  }
}

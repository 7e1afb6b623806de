/** A touch of an object that is held: it goes around the queue of the object itself, as a batch of its own. */
import { BLOCK_SIZE } from '../base/bytes.js';
import type { StoreContext } from './context.js';
import type { BatchBuilder } from './journal-record.js';
import type { Operation } from './operation.js';
import { recordOperation } from './operation-records.js';

const RETRY_MS = 1;

/** What of the writer is asked while a batch is made. */
export interface BatchHooks {
  readonly uncommitted: () => readonly bigint[];
  readonly onSegmentFull: () => boolean;
  readonly onSegmentUsed: () => void;
}

/** Resolves when the journal has the touch; it is not synced by then. Fails as the store does. */
export function journalTouch(
  hooks: BatchHooks,
  context: StoreContext,
  builder: BatchBuilder,
  op: Operation,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const attempt = () => {
      const { journal, limits } = context;
      const failure = context.failure();
      if (failure) {
        reject(failure);
      } else if (journal.room < 2 * BLOCK_SIZE + 8 * limits.maxUncommitted && !hooks.onSegmentFull()) {
        context.clock.after(RETRY_MS, attempt);
      } else {
        try {
          append(hooks, context, builder, op);
          resolve();
        } catch (error) {
          context.fail(error);
          reject(error);
        }
      }
    };
    // Never in the middle of a batch that is being put together: the builder is shared.
    context.clock.defer(attempt);
  });
}

function append(hooks: BatchHooks, context: StoreContext, builder: BatchBuilder, op: Operation): void {
  const { journal, limits, touched } = context;
  const count = builder.begin(hooks.uncommitted(), limits.maxUncommitted);
  op.object = undefined;
  op.parts = [];
  op.creates = false;
  op.instance = 0;
  recordOperation(builder, op, journal.current);
  const first = journal.current.lastSequence < 0;
  journal.append(builder, count);
  // Noted before the object changes: the segment's checkpoint makes the note durable.
  touched.add(op.oid, op.epoch);
  journal.current.epochs.add(op.epoch);
  if (first) hooks.onSegmentUsed();
}

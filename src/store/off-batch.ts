/** Operations that take a while of their own before, or instead of, going through a batch. Their objects are held. */
import type { AppError } from '../base/errors.js';
import { refusalOf, type StoreContext } from './context.js';
import { copyObject } from './copy-on-write.js';
import type { DirectFlusher } from './direct-flusher.js';
import { secureLent } from './inherit.js';
import type { BatchBuilder } from './journal-record.js';
import { type BatchHooks, journalTouch } from './journal-touch.js';
import type { StoredObject } from './object-file.js';
import type { Operation } from './operation.js';

/** What of the writer is needed for that. */
export interface Lane extends BatchHooks {
  readonly context: StoreContext;
  /** Takes back one hold of an object. */
  release(oid: bigint): void;
  /** The operation is planned next. */
  goOn(op: Operation): void;
  /** Something may go on now. */
  wake(): void;
}

/**
 * Copies an object whole, with the operation's change. The touch is journaled and synced first, so that the change is
 * never unknown to catching-up (D-5); then the copy, complete with the write, takes its name at once. A crash before
 * that leaves what was there. `source` has the parent: both objects are held.
 */
export async function runCopy(
  lane: Lane,
  builder: BatchBuilder,
  direct: DirectFlusher,
  op: Operation,
  parent: StoredObject,
  source: Lane,
): Promise<void> {
  const { context } = lane;
  const { journal, cache } = context;
  source.context.cache.pin(parent);
  try {
    const before = cache.get(op.oid);
    if (before?.lent) await secureLent(context, before);
    await journalTouch(lane, context, builder, op);
    await journal.synced(journal.sequence);
    await copyObject(context, direct, op, parent);
    op.resolve();
  } catch (error) {
    op.reject(refusalOf(context, error));
  } finally {
    source.context.cache.unpin(parent);
    lane.release(op.oid);
    source.release(parent.oid);
    for (const each of new Set([lane, source])) each.wake();
  }
}

/** Sends the operation on once nobody who inherits from its object minds that it goes. */
export async function runSecured(lane: Lane, op: Operation, object: StoredObject): Promise<void> {
  const { context } = lane;
  try {
    await secureLent(context, object);
  } catch (error) {
    context.fail(error);
  }
  const failure: AppError | undefined = context.failure();
  op.secured = true;
  lane.release(op.oid);
  if (failure) op.reject(failure);
  // Before whatever waited for it.
  else lane.goOn(op);
  lane.wake();
}

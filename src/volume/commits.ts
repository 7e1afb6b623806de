import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Compare, Coordinator, Op } from '../coord/coordinator.js';
import type { Directory } from './directory.js';
import { keys } from './records.js';

const RETRY_MS = 50;

export interface CommitsOptions {
  readonly selfId: string;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly clock: Clock;
}

/**
 * Changes of records in the coordinator that happen or do not, and are seen here once they have (I-6). One for each
 * node: with every change it writes a mark of its own, by which it knows afterwards whether a change of which it heard
 * nothing has happened. The records do not tell: others may have changed them since.
 */
export class Commits {
  /** Marks that are not in use by a change that is under way. */
  private readonly free: number[] = [];
  private slots = 0;
  private count = 0;

  constructor(private readonly options: CommitsOptions) {}

  /**
   * False: nothing was changed. When the coordinator does not answer, the same is tried again until it is certain
   * whether it happened: what the owner does next depends on it (a snapshot that happened must not be written to).
   */
  async try(compares: Compare[], ops: Op[]): Promise<boolean> {
    const slot = this.free.pop() ?? this.slots++;
    const { selfId, membership } = this.options;
    const key = keys.commit(selfId, slot);
    const value = `${membership.incarnation} ${++this.count}`;
    const done = await this.tryMarked(compares, [...ops, { type: 'put', key, value }], key, value);
    // Not after an error: a late change could still write the mark.
    this.free.push(slot);
    return done;
  }

  private async tryMarked(compares: Compare[], ops: Op[], key: string, value: string): Promise<boolean> {
    const { clock, coordinator, directory, membership } = this.options;
    const { incarnation } = membership;
    for (let inDoubt = false; ; ) {
      try {
        const result = await coordinator.txn(compares, ops);
        const revision = result.ok ? result.revision : inDoubt ? await this.revisionOf(key, value) : 0;
        await directory.seen(revision);
        return revision > 0;
      } catch (error) {
        if (!AppError.isCode(error, 'network') || membership.incarnation !== incarnation) throw error;
        inDoubt = true;
      }
      await sleep(clock, RETRY_MS);
    }
  }

  /** The same, where not happening is an error: `again`. */
  async must(compares: Compare[], ops: Op[]): Promise<void> {
    if (!(await this.try(compares, ops))) throw new AppError('again', 'the volume has changed meanwhile');
  }

  /** The revision at which the mark was written, 0 when it was not. */
  private async revisionOf(key: string, value: string): Promise<number> {
    const kv = await this.options.coordinator.get(key);
    return kv?.value === value ? kv.modRevision : 0;
  }
}

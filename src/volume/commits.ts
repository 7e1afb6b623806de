import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Membership } from '../cluster/membership.js';
import type { Compare, Coordinator, Op } from '../coord/coordinator.js';
import type { Directory } from './directory.js';

const RETRY_MS = 50;

export interface CommitsOptions {
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly clock: Clock;
}

/** Changes of records in the coordinator that happen or do not, and are seen here once they have (I-6). */
export class Commits {
  constructor(private readonly options: CommitsOptions) {}

  /**
   * False: nothing was changed. When the coordinator does not answer, the same is tried again until it is certain
   * whether it happened: what the owner does next depends on it (a snapshot that happened must not be written to).
   */
  async try(compares: Compare[], ops: Op[]): Promise<boolean> {
    const { clock, coordinator, directory, membership } = this.options;
    const { incarnation } = membership;
    for (let inDoubt = false; ; ) {
      try {
        const result = await coordinator.txn(compares, ops);
        const revision = result.ok ? result.revision : inDoubt ? await this.revisionOf(ops) : 0;
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

  /** The revision at which these operations happened, 0 when they did not. Their values are never written twice. */
  private async revisionOf(ops: Op[]): Promise<number> {
    const first = ops.find((op) => op.type === 'put')!;
    const kv = await this.options.coordinator.get(first.key);
    return kv?.value === first.value ? kv.modRevision : 0;
  }
}

import { AppError } from '../../base/errors.js';
import { type EpochContext, EpochEnded, type ObjectNode } from '../objects/object-node.js';

const RETRY_MS = 1000;

/**
 * When the record of a version goes, so does what is left here of its objects. Whoever frees a version removes what its
 * index names; but an object is there before the entry that names it, and a full disk or a crash may have kept that
 * from being written. Versions that others still inherit from keep their records.
 */
export class Leftovers {
  /** Versions that are gone, and not looked for yet. */
  private readonly vids = new Set<number>();
  private runningIn: EpochContext | undefined;

  constructor(private readonly node: ObjectNode) {}

  /** The version has no record any more. Its vid may be given out again at any time. */
  note(vid: number): void {
    this.vids.add(vid);
    const { context } = this.node;
    if (context?.view.self?.up) void this.enter(context);
  }

  /** Called with every epoch in which this node is up. */
  async enter(context: EpochContext): Promise<void> {
    const { node } = this;
    if (this.runningIn === context) return;
    this.runningIn = context;
    while (this.vids.size > 0 && context === node.context && !node.stopped) {
      try {
        for (const vid of [...this.vids]) await this.remove(context, vid);
      } catch (error) {
        if (error instanceof EpochEnded) break;
        const { message: err } = AppError.from(error);
        node.options.log.warn({ err }, 'leftovers of a deleted version were not removed, trying again');
        await node.pauseInEpoch(context, RETRY_MS);
      }
    }
    if (this.runningIn === context) this.runningIn = undefined;
  }

  private async remove(context: EpochContext, vid: number): Promise<void> {
    // One that goes again while this one is under way is looked for again.
    this.vids.delete(vid);
    try {
      for await (const oid of this.node.store.objects(vid)) await this.node.resolveOrDrop(context, oid);
    } catch (error) {
      this.vids.add(vid);
      throw error;
    }
  }
}

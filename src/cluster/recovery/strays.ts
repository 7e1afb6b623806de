import { AppError } from '../../base/errors.js';
import { type EpochContext, EpochEnded, type ObjectNode } from '../objects/object-node.js';

/** Objects looked at in one go, and the pause after it: nobody waits for this. */
const SCAN_STEP = 64;
const SCAN_PAUSE_MS = 5;
const RETRY_MS = 1000;

/**
 * After a switch of the placement, objects are left that lie elsewhere now; after the deletion of a volume perhaps some
 * that nobody knows. Looks for them once per placement, and only while all is well: then all holders have everything.
 */
export class Strays {
  removed = 0;
  private cleanedFor = '';

  constructor(private readonly node: ObjectNode) {}

  /** Called with every epoch in which this node is up. */
  async enter(context: EpochContext): Promise<void> {
    const { record } = context.view;
    const { strayTargets } = this.node.options.mutants ?? {};
    const key = JSON.stringify([record.nodes.map((n) => [n.id, n.placed]), record.families, record.move]);
    // Also for a placement that was there before: in between there were others.
    if (this.cleanedFor !== key) this.cleanedFor = '';
    if (record.base !== record.epoch && !strayTargets) return;
    if (this.cleanedFor === key && !this.node.mayHaveStrays) return;
    await Promise.race([context.peered.promise, context.view.ended.promise]);
    while (context === this.node.context && !this.node.stopped) {
      try {
        this.node.mayHaveStrays = false;
        await this.clean(context);
        this.cleanedFor = key;
        return;
      } catch (error) {
        this.cleanedFor = '';
        if (error instanceof EpochEnded) return;
        this.node.options.log.warn(
          { err: AppError.from(error).message },
          'looking for strays was interrupted',
        );
      }
      await this.node.pauseInEpoch(context, RETRY_MS);
    }
  }

  private async clean(context: EpochContext): Promise<void> {
    const { node } = this;
    let seen = 0;
    let found = 0;
    for await (const oid of node.store.objects()) {
      if (++seen % SCAN_STEP === 0) await node.pauseInEpoch(context, SCAN_PAUSE_MS);
      const address = await node.resolveOrDrop(context, oid);
      if (address !== undefined) {
        const place = context.view.locate(address);
        const holders = node.options.mutants?.strayTargets ? place.placed : place.holders;
        if (holders.includes(node.selfId)) continue;
        // Begun in this epoch, so whoever asks this node for it in a later one waits until it is gone.
        await node.drop(context, oid);
      }
      found++;
    }
    this.removed += found;
    if (found > 0) node.options.log.info({ objects: found }, 'removed objects that lie elsewhere now');
  }
}

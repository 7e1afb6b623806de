import { AppError } from '../../base/errors.js';
import { forEachLimit } from '../../base/signal.js';
import { formatOid } from '../../wire/oid.js';
import { emptyMessage, PeerType } from '../../wire/peer-message.js';
import type { ObjectAddress } from '../epochs/address.js';
import { addressed } from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Settler } from './settler.js';

const RETRY_MS = 50;
/** Before objects that could not be settled are tried once more. */
const SETTLE_AGAIN_MS = 1000;
const SETTLE_PARALLEL = 16;

/**
 * A primary settles what it has to, also when no client asks for it, and then says so: from then on the others
 * may read from their own replicas. Before that, an old content there could be shown although the primary will
 * choose the newer one (I-2). What is left with another replica then, that one asks its primary for.
 */
export class OwnSettling {
  constructor(
    private readonly node: ObjectNode,
    private readonly settler: Settler,
  ) {}

  /** Called with every epoch in which this node is up. */
  async run(context: EpochContext): Promise<void> {
    const { node } = this;
    await Promise.race([context.peered.promise, context.view.ended.promise]);
    let announced = false;
    while (context === node.context && !node.stopped) {
      try {
        const all = await this.settleAll(context);
        if (all && !announced) await Promise.all(context.view.peers.map((id) => this.announce(context, id)));
        announced ||= all;
      } catch (error) {
        if (error instanceof EpochEnded) return;
        node.options.log.warn({ err: AppError.from(error).message }, 'settling was interrupted, going on');
      }
      // Also later: a change that a replica refused leaves its object unsettled until somebody sees to it.
      await node.pauseInEpoch(context, SETTLE_AGAIN_MS);
    }
  }

  /** False when some object could not be settled: it stands in nobody's way but its own. */
  private async settleAll(context: EpochContext): Promise<boolean> {
    let all = true;
    await forEachLimit([...this.node.unsettled.pending], SETTLE_PARALLEL, async (oid) => {
      try {
        await this.settleOne(context, oid);
      } catch (error) {
        if (error instanceof EpochEnded) throw error;
        all = false;
        this.node.options.log.warn(
          { err: AppError.from(error).message, oid: formatOid(oid) },
          'an object cannot be settled',
        );
      }
    });
    return all;
  }

  private async settleOne(context: EpochContext, oid: bigint): Promise<void> {
    const { node } = this;
    const address = await node.resolveOrDrop(context, oid);
    if (address === undefined) return this.pass(context, oid);
    const { serving } = context.view.locate(address);
    const primary = serving[0];
    if (primary === node.selfId) await this.settler.settle(context, address);
    else if (primary !== undefined && serving.includes(node.selfId))
      await this.remind(context, primary, address);
  }

  /** A change that some refused and others took may have left the object there: nobody else would look for it. */
  private async pass(context: EpochContext, oid: bigint): Promise<void> {
    const message = () => Object.assign(emptyMessage(PeerType.doubt), { oid });
    await Promise.all(context.view.peers.map((id) => this.node.ask(context, id, message()).catch(ifEnded)));
  }

  /**
   * A primary that has settled everything and left this out knows nothing of it: it had dropped the object with its
   * volume, and now the number is another volume's.
   */
  private async remind(context: EpochContext, primary: string, address: ObjectAddress): Promise<void> {
    if (!context.settledPrimaries.has(primary) || this.node.options.mutants?.hideUnsettled) return;
    try {
      await this.node.ask(context, primary, addressed(PeerType.reconcile, address));
    } catch (error) {
      // Nothing that this node itself has to answer for depends on it.
      if (error instanceof EpochEnded) throw error;
      this.node.options.log.debug({ err: AppError.from(error).message }, 'a reminder failed, trying again');
    }
  }

  private async announce(context: EpochContext, nodeId: string): Promise<void> {
    const { node } = this;
    while (context === node.context && !node.stopped) {
      try {
        await node.ask(context, nodeId, emptyMessage(PeerType.replicaSettled));
        return;
      } catch (error) {
        if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
      }
      await node.pauseInEpoch(context, RETRY_MS);
    }
  }
}

/** Who cannot be reached now has an epoch to come, and tells then what it has in doubt. */
function ifEnded(error: unknown): void {
  if (error instanceof EpochEnded) throw error;
}

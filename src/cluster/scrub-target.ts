import { AppError } from '../base/errors.js';
import type { ClusterNode } from './cluster-node.js';
import type { ObjectAddress } from './epochs/address.js';
import { CheckMode, type ObjectCheck } from './objects/checker.js';
import { EpochEnded } from './objects/object-node.js';
import type { ScrubRole, ScrubTarget } from './scrub/scrubber.js';

export interface ScrubTargetOptions {
  readonly cluster: ClusterNode;
  readonly mayScrub: () => boolean;
  /** Some volume refers to this object, as far as can be known. */
  readonly isReferenced: (oid: bigint) => Promise<boolean>;
}

/** The cluster as the scrubber of one node sees it. */
export class ClusterScrubTarget implements ScrubTarget {
  constructor(private readonly options: ScrubTargetOptions) {}

  stored(): AsyncIterable<bigint> {
    return this.options.cluster.objects.store.objects();
  }

  storedBytes(): number {
    return this.options.cluster.objects.store.stats().usedBytes;
  }

  mayScrub(): boolean {
    return this.options.mayScrub();
  }

  busy(): boolean {
    const { cluster } = this.options;
    return cluster.activeRequests > 0 || cluster.objects.locks.size > 0;
  }

  async roleOf(oid: bigint): Promise<{ role: ScrubRole; address: ObjectAddress | undefined }> {
    const { objects } = this.options.cluster;
    const { context } = objects;
    if (context === undefined) throw new AppError('again', 'not in the cluster yet');
    const address = await objects.resolveOrDrop(context, oid).catch(againIfEnded);
    if (address === undefined) return { role: 'stray', address };
    const { serving } = context.view.locate(address);
    const place = serving.indexOf(objects.selfId);
    return { role: place === 0 ? 'primary' : place > 0 ? 'replica' : 'none', address };
  }

  check(address: ObjectAddress): Promise<ObjectCheck> {
    return this.options.cluster.checker.check(address, CheckMode.repair);
  }

  async restoreAtPrimary(address: ObjectAddress): Promise<ObjectCheck | undefined> {
    const { cluster, isReferenced } = this.options;
    const { client } = cluster;
    const found = await client.check(client.session(), address, CheckMode.existence);
    // The first of them is the primary.
    if (found.replicas[0]?.state !== 'missing' || found.outcome === 'lost') return undefined;
    // What was removed while this node could not hear of it must not come back.
    if (!(await isReferenced(address.oid))) return undefined;
    return client.check(client.session(), address, CheckMode.repair);
  }
}

function againIfEnded(error: unknown): never {
  throw error instanceof EpochEnded ? new AppError('again', 'the epoch has ended') : error;
}

import { AppError } from '../base/errors.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Session } from '../cluster/objects/object-client.js';
import type { Compare } from '../coord/coordinator.js';
import type { Commits } from './commits.js';
import type { Directory } from './directory.js';
import type { Garbage } from './garbage.js';
import { keys, type VdiRecord } from './records.js';
import { put, same } from './version-records.js';
import { freeVid } from './vids.js';

const TRIES_MAX = 50;

export interface ReservationsOptions {
  readonly cluster: ClusterNode;
  readonly membership: Membership;
  readonly directory: Directory;
  readonly garbage: Garbage;
  readonly commits: Commits;
}

/** Vids taken for versions that are being made: records that nobody sees, and that the sweep finds after a crash. */
export class Reservations {
  constructor(private readonly options: ReservationsOptions) {}

  /** Reserves a vid for the record that `build` makes with it. `base` must stay as it is until the commit. */
  async take(name: string, build: (vid: number) => VdiRecord, base?: VdiRecord): Promise<VdiRecord> {
    const { cluster, commits, directory, membership } = this.options;
    const maker = { nodeId: cluster.objects.selfId, incarnation: membership.incarnation };
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const vid = freeVid(name, (v) => directory.vdi(v) !== undefined);
      const record: VdiRecord = { ...build(vid), state: 'pending', maker };
      const compares: Compare[] = [{ key: keys.vdi(vid), exists: false }];
      if (base !== undefined) compares.push(same(base));
      if (await commits.try(compares, [put(record)])) {
        if (record.root === vid) await this.beginFamily(vid);
        return record;
      }
      if (base !== undefined && JSON.stringify(directory.vdi(base.vid)) !== JSON.stringify(base)) {
        const gone = directory.vdi(base.vid)?.state !== 'live';
        throw new AppError(gone ? 'no-tag' : 'again', 'the snapshot has been deleted or changed meanwhile');
      }
    }
    throw new AppError('again', 'no vid could be reserved');
  }

  /**
   * For what is written for the reservation: it ends with the registration under which that was made, for then others
   * may undo it. 'again' when it has ended.
   */
  sessionOf({ maker }: VdiRecord): Session {
    const session = this.options.cluster.client.session();
    if (session.origin.incarnation !== maker?.incarnation)
      throw new AppError('again', 'this sheep has registered anew since the vid was reserved');
    return session;
  }

  /** Names begin where they began before: a family of that root may have had its copies altered, and is gone. */
  private async beginFamily(root: number): Promise<void> {
    const { membership } = this.options;
    if (membership.view?.record.families?.[root.toString(16)] === undefined) return;
    await membership.change({ kind: 'forget-copies', roots: [root] });
  }

  /** Gives the reservation up when `work` fails. */
  async orForget<T>(pending: VdiRecord, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // When it was committed after all, the record is not the pending one any more and stays.
      const now = this.options.directory.vdi(pending.vid);
      if (now?.state === 'pending') await this.options.garbage.forgetPending(pending).catch(() => {});
      throw error;
    }
  }
}

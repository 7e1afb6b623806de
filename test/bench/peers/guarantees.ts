/** What a client may rely on when its write is acknowledged. Rates of different promises do not compare. */
import type { TargetName } from '../targets.js';

export interface Guarantee {
  /** When nothing follows the write. */
  readonly plain: string;
  /** When the write carries FUA, or its flush has returned. */
  readonly durable: string;
}

export const guarantees: Record<TargetName, Guarantee> = {
  sheepfold: { plain: 'in memory of 3 processes', durable: 'on 3 disks' },
  ceph: { plain: "in the client's memory (write-behind of librbd)", durable: 'on 3 disks' },
  gluster: {
    plain: "acknowledged before it is durable: the client's write-behind, then page caches of 3 bricks",
    durable: 'on 3 disks: the flush is an fsync of each brick',
  },
  sheepdog: { plain: 'on 3 disks (O_DSYNC)', durable: 'on 3 disks (O_DSYNC)' },
  'qemu-nbd': { plain: 'one copy, in the page cache', durable: 'one copy, on disk' },
  nbdkit: { plain: 'one copy, in memory of 1 process', durable: 'never: it has no disk' },
  raw: { plain: 'one copy, in the page cache', durable: 'one copy, on disk' },
};

import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import { ClusterNode, type ClusterNodeOptions } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { Mutants } from '../cluster/epochs/mutants.js';
import type { ClusterSettings } from '../cluster/epochs/settings.js';
import type { NodeInfo } from '../control/api.js';
import type { ClusterConfig } from '../control/cluster-calls.js';
import { VolumeCalls } from '../control/volume-calls.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Transport } from '../net/transport.js';
import type { ObjectStore } from '../store/object-store.js';
import { Commits } from '../volume/commits.js';
import { Directory } from '../volume/directory.js';
import { Garbage } from '../volume/garbage.js';
import { Locks } from '../volume/locks.js';
import { Staging } from '../volume/staging.js';
import { VolumeManager } from '../volume/volume-manager.js';
import { VolumeService } from '../volume/volume-service.js';

/** Everything that exists only once the cluster is formatted. */
export interface Inner {
  readonly config: ClusterConfig;
  readonly store: ObjectStore;
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly garbage: Garbage;
  readonly locks: Locks;
  readonly calls: VolumeCalls;
}

export interface InnerOptions {
  readonly config: ClusterConfig;
  readonly store: ObjectStore;
  readonly selfId: string;
  readonly leaseTtlMs: number;
  /** This node is on the network for traffic between sheep. */
  readonly usesIo: boolean;
  readonly membership: Membership;
  readonly coordinator: Coordinator;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly volumeLog: Logger;
  readonly mutants?: Mutants;
  readonly defaultCopies: () => number;
  readonly settings: () => ClusterSettings;
  readonly nodes: () => NodeInfo[];
  readonly onOther: ClusterNodeOptions['onOther'];
}

/** Joins what a sheep has in a formatted cluster; nothing serves before the caller has taken it. */
export async function assembleInner(options: InnerOptions): Promise<Inner> {
  const { config, store, selfId, membership, coordinator, transport, clock, random, log, mutants } = options;
  const directory = new Directory(coordinator);
  await directory.start();
  let garbage: Garbage | undefined;
  const cluster = new ClusterNode({
    selfId,
    membership,
    store,
    clock,
    log,
    resolve: (oid) => directory.resolve(oid),
    copiesInUse: () => new Set([config.copies, ...directory.vdis().map((record) => record.copies)]),
    recoveryPaused: () => options.settings().recoveryPaused,
    transport,
    coordinator,
    leaseTtlMs: options.leaseTtlMs,
    usesIo: options.usesIo,
    formatId: config.formatId,
    onOther: options.onOther,
    ...(mutants && { mutants }),
  });
  directory.onGone = (vid) => cluster.leftovers.note(vid);
  await cluster.connectivity.start();
  const manager = new VolumeManager({
    cluster,
    membership,
    coordinator,
    directory,
    clock,
    log: options.volumeLog,
    released: (line) => garbage!.released(line),
    onReleased: (record, index, owner) => {
      garbage!.release(record, index, owner).catch((error) => {
        log.warn({ err: AppError.from(error).message }, 'an object that nobody refers to was not freed');
      });
    },
  });
  const locks = new Locks({
    coordinator,
    membership,
    selfId,
    exclusive: config.useLock === true,
  });
  await locks.start();
  garbage = new Garbage({ cluster, coordinator, directory, clock, log, manager: () => manager });
  const commits = new Commits({ selfId, coordinator, directory, membership, clock });
  const service = new VolumeService({
    cluster,
    membership,
    coordinator,
    directory,
    manager,
    garbage,
    commits,
    clock,
    random,
    log,
  });
  const calls = new VolumeCalls({
    cluster,
    coordinator,
    membership,
    log,
    directory,
    manager,
    service,
    clock,
    defaults: {
      get copies() {
        return options.defaultCopies();
      },
      blockSizeShift: config.blockSizeShift,
    },
    nodes: options.nodes,
    locks,
    staging: new Staging({
      cluster,
      membership,
      coordinator,
      directory,
      garbage,
      commits,
      clock,
      random,
      log,
    }),
    epochs: () => membership.epochs(),
  });
  return { config, store, cluster, directory, manager, garbage, locks, calls };
}

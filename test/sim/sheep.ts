/** The production node in the simulator: SheepCore on a fake disk, with a small store so that journals turn over. */
import type { ObjectAddress } from '../../src/cluster/epochs/address.js';
import { formatEpoch } from '../../src/cluster/epochs/epoch.js';
import { SheepCore } from '../../src/daemon/sheep-core.js';
import { BAD } from '../../src/store/checksum.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { readIndex } from '../../src/volume/volume-index.js';
import { dataOid, formatOid, inodeOid, parseOid, vidOf } from '../../src/wire/oid.js';
import type { SimCluster } from '../helpers/sim-cluster.js';
import { fakeDiskOfMachine } from '../helpers/sim-disk.js';
import type { ClusterKind, NodeEnvironment, ObjectPlace, SimNode } from '../helpers/sim-kind.js';
import { damageOf } from './sheep-damage.js';
import { mutantCoordinator, openMutant } from './sheep-mutants.js';
import { SheepRecords } from './sheep-records.js';

const LEASE_TTL_MS = 2000;
const DISK_BYTES = 1 << 30;
/** Ordinary limits made for gigabytes would never be reached in a few simulated seconds. */
const limits = {
  // More than the largest single change, a megabyte.
  segmentBytes: (1 << 20) + (256 << 10),
  directBytes: 32 << 10,
  checkpointAgeMs: 2000,
  maxOpenObjects: 16,
  maxBatchBytes: 256 << 10,
  reserveBytes: 512 << 10,
};

/** Fast, as little is stored and little time passes. */
const scrub = {
  periodMs: 2000,
  floorBytesPerS: 5e7,
  ceilingBytesPerS: 1e9,
  patienceMs: 50,
  pollMs: 200,
  saveMs: 1000,
};

const recordsOf = new WeakMap<SimCluster, SheepRecords>();

export const sheepKind: ClusterKind = {
  name: 'sheep',
  strictDeaths: true,
  snapshotsDurable: true,
  survivesOnePowerCut: true,
  toleratedErrors: [],
  toleratedControlErrors: ['network', 'again', 'shutdown', 'wait-for-format'],
  toleratedStartErrors: ['network'],
  makeDisk: ({ clock, random }) => {
    const machine = fakeDiskOfMachine({ clock, random, capacityBytes: DISK_BYTES });
    return { ...machine, damage: damageOf(machine.disk) };
  },
  startNode: async (environment) => {
    const core = new SheepCore(optionsFor(environment));
    await core.start();
    return simNode(core);
  },
  watchVolumes: (cluster, onChange) => {
    const records = new SheepRecords(onChange);
    recordsOf.set(cluster, records);
    cluster.coordinators.onChange = (change) => records.take(change);
  },
  tidy: (cluster) => recordsOf.get(cluster)!.tidy,
};

function optionsFor(environment: NodeEnvironment): ConstructorParameters<typeof SheepCore>[0] {
  const {
    name,
    nodeId,
    zone,
    address,
    bootId,
    life,
    disk,
    clock,
    random,
    transport,
    coordinator,
    log,
    mutants,
    onEnd,
    scrubs,
  } = environment;
  return {
    self: {
      id: nodeId,
      ...address,
      nbdPort: 0,
      httpPort: 0,
      zone,
      vnodes: 16,
      hostId: name,
      bootId,
      pid: life,
    },
    coordinator: mutantCoordinator(mutants, coordinator),
    transport,
    clock,
    random,
    log,
    leaseTtlMs: LEASE_TTL_MS,
    ...(scrubs && { scrub }),
    openStore: (formatId) =>
      openMutant(mutants, { disk, clock, log, identity: { clusterId: formatId, nodeId }, bootId, limits }),
    onEnd: ({ kind, message }) => onEnd(`${kind}: ${message}`),
    mutants,
  };
}

function simNode(core: SheepCore): SimNode {
  const addresses = new Addresses(core);
  return {
    openDevice: (name, options) => core.open(name, options),
    control: core,
    health: () => ({ allSynced: isHealthy(core, addresses), reason: stateOf(core) }),
    isWhole: () => isWhole(core),
    replicaTables: () => replicaTables(core),
    storedObjects: () => storedObjects(core),
    purposes: () => purposes(core),
    isEmpty: async (id) => core.membership.view?.nodes.get(id)?.placed === undefined,
    holdersOf: (oid) => holdersOf(core, oid),
    counters: () => countersOf(core.store),
    incarnation: () => core.membership.incarnation,
    excludes: (name, incarnation) => {
      const node = core.membership.view?.nodes.get(name);
      return node === undefined || !node.up || node.incarnation !== incarnation;
    },
    stop: () => core.stop(),
  };
}

/**
 * Like SheepCore.healthy(), but objects that wait to be settled count only where a replica of them belongs: a node
 * hears of all unsettled objects when an epoch begins, and is told only of its own when they are settled.
 */
function isHealthy(core: SheepCore, addresses: Addresses): boolean {
  const { view } = core.membership;
  const objects = core.cluster?.objects;
  if (!view || !objects || !isWhole(core)) return false;
  // Replicas differ while a change is on its way to them.
  if (objects.inFlight.size > 0) return false;
  for (const oid of objects.unsettled.pending) {
    const address = addresses.of(oid);
    if (address === 'unknown') return false;
    if (address !== 'gone' && view.locate(address).holders.includes(objects.selfId)) return false;
  }
  return true;
}

/** Every member is up and lacks nothing, as this one sees it. */
function isWhole({ membership, cluster }: SheepCore): boolean {
  const { view } = membership;
  if (!view || !membership.leaseValid()) return false;
  const { base, epoch } = view.history.current;
  return base === epoch && cluster?.objects.context?.peered.fired === true;
}

/** Addresses of objects, looked up in the background. */
class Addresses {
  private readonly known = new Map<bigint, ObjectAddress | 'gone' | 'unknown'>();

  constructor(private readonly core: SheepCore) {}

  of(oid: bigint): ObjectAddress | 'gone' | 'unknown' {
    const known = this.known.get(oid);
    if (known) return known;
    this.known.set(oid, 'unknown');
    this.core.cluster!.objects.options.resolve(oid).then(
      (address) => this.known.set(oid, address ?? 'gone'),
      () => this.known.delete(oid),
    );
    return 'unknown';
  }
}

/** Tables of the objects that the present epoch places here; strays (old placements, garbage) do not count. */
async function replicaTables(core: SheepCore): Promise<Map<string, { table: Uint32Array; holders: number }>> {
  const tables = new Map<string, { table: Uint32Array; holders: number }>();
  const { store, cluster } = core;
  const view = core.membership.view;
  if (!store || !cluster || !view) return tables;
  for await (const oid of store.objects()) {
    const address: ObjectAddress | undefined = await cluster.objects.options.resolve(oid);
    if (!address) continue;
    const { holders } = view.locate(address);
    const table = store.checksums(oid);
    if (!table || !holders.includes(cluster.objects.selfId)) continue;
    for (const block of await store.verify(oid)) table[block] = BAD;
    tables.set(formatOid(oid), { table, holders: holders.length });
  }
  return tables;
}

async function storedObjects(core: SheepCore): Promise<string[]> {
  const found: string[] = [];
  for await (const oid of core.store!.objects()) found.push(formatOid(oid));
  return found;
}

async function holdersOf(core: SheepCore, text: string): Promise<ObjectPlace | undefined> {
  const view = core.membership.view!;
  const address = await core.cluster!.objects.options.resolve(parseOid(text)!);
  if (address === undefined) return undefined;
  const { holders } = view.locate(address);
  const zoneOf = (id: string) => view.nodes.get(id)?.placed?.zone;
  const inUse = [...view.nodes.keys()].map(zoneOf).filter((zone) => zone !== undefined);
  return { holders, zones: new Set(holders.map(zoneOf)).size, zonesInUse: new Set(inUse).size };
}

/**
 * Referred to: the inode of a living version, and what its index names. A data object of a living version that its
 * own index does not name was made when a crash came; it goes with the version (src/volume/garbage.ts).
 */
async function purposes(core: SheepCore): Promise<(oid: string) => 'referred' | 'stated' | 'leaked'> {
  const { directory, cluster } = core.parts!;
  const { client } = cluster;
  await directory.catchUp();
  const referred = new Set<string>();
  const living = new Set<number>();
  for (const record of directory.vdis()) {
    // What a version that is gone left behind when the owner of its heir died goes with its record, after all heirs.
    if (record.state === 'live' || record.freed === true) living.add(record.vid);
    if (record.state !== 'live') continue;
    referred.add(formatOid(inodeOid(record.vid)));
    (await readIndex(client, client.session(), record)).forEach((owner, index) => {
      if (owner !== 0) referred.add(formatOid(dataOid(owner, index)));
    });
  }
  return (oid) => {
    if (referred.has(oid)) return 'referred';
    return living.has(vidOf(parseOid(oid)!)) ? 'stated' : 'leaked';
  };
}

function stateOf(core: SheepCore): string {
  const objects = core.cluster?.objects;
  const record = core.membership.view?.history.current;
  const peered = objects?.context?.peered.fired === true;
  const epoch = `${record && formatEpoch(record)}, lease ${core.membership.leaseValid()}`;
  return `${epoch}, peered ${peered}, unsettled ${objects?.unsettled.pending.size}`;
}

function countersOf(store: ObjectStore | undefined): Record<string, number> {
  if (!store) return {};
  const { journalSyncs, journalBatches, checksumErrors } = store.stats();
  return {
    'journal syncs': journalSyncs,
    'journal batches': journalBatches,
    'checksum errors': checksumErrors,
  };
}

import { lookup } from 'node:dns/promises';
import { AppError } from '../base/errors.js';
import type { NodeInfo, VdiRef } from '../control/api.js';
import { type NbdDisk, type NbdPlace, volumeOf } from '../vm/domain-xml.js';
import { isLoopback } from '../vm/migrate/arrival.js';
import type {
  ArrivalSheep,
  ClusterFacts,
  Destination,
  MigrationFacts,
  MovingDomain,
  Silent,
  UnknownSheep,
  VolumeFacts,
} from '../vm/migrate/facts.js';
import { askDestination, askHypervisor } from '../vm/migrate/hypervisor.js';
import { localFileSystem, readMovingDomain } from '../vm/migrate/moving-domain.js';
import type { Virsh } from '../vm/virsh.js';
import { vdiRef } from './arguments.js';
import type { Context } from './context.js';
import { callSoon } from './doctor-collect.js';
import { exitOf } from './exit.js';
import { LimitedCluster } from './hook-cluster.js';
import { fetchPlaces, isOurs } from './vm.js';

/** What `dog vm migrate` goes by, from both hypervisors, the cluster and the destination's sheep. Changes nothing. */

const LOOKUP_MS = 3_000;

export interface MigrationPlan {
  readonly domain: string;
  readonly source: Virsh;
  readonly destination: Virsh;
  readonly uri: string;
  /** libvirt of the source is on this machine, and so are the files it tells of. */
  readonly sourceIsHere: boolean;
  readonly toSheep: Address | undefined;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Rejects when the source does not answer or does not know the domain; everything else is a fact. */
export async function collectMigration(context: Context, plan: MigrationPlan): Promise<MigrationFacts> {
  const { source, destination, uri } = plan;
  const xml = await source.domainXml(plan.domain);
  const places = xml.includes("protocol='nbd'") ? await fetchPlaces(context).catch(silence) : [];
  const known = Array.isArray(places) ? places : [];
  const shape = await readMovingDomain(
    xml,
    (disk) => isOurs(disk, known),
    (path) => (plan.sourceIsHere ? localFileSystem(path) : 'unknown'),
  );
  const domain: MovingDomain = { ...shape, ...(await standing(source, plan.domain)) };
  const [own, other] = await Promise.all([
    askHypervisor(source, shape, xml),
    askDestination(destination, shape, xml).catch(silence),
  ]);
  const hosts = { domain, source: own, destination: other, uri };
  return { ...hosts, ...(await collectVolumes(context, plan, hosts, places)) };
}

type VolumeSide = Pick<MigrationFacts, 'cluster' | 'arrival' | 'volumes'>;

/** A cluster is nobody's business when no disk can be its. */
async function collectVolumes(
  context: Context,
  plan: MigrationPlan,
  { domain, destination }: Pick<MigrationFacts, 'domain' | 'destination'>,
  places: readonly NbdPlace[] | Silent,
): Promise<VolumeSide> {
  if ('error' in places) {
    const onNbd = domain.disks.some(({ content }) => content.kind === 'nbd' || content.kind === 'volume');
    return { volumes: {}, ...(onNbd && { cluster: places }) };
  }
  const disks = domain.disks.flatMap(({ content, target }) =>
    content.kind === 'volume' ? [{ target, nbd: content.nbd }] : [],
  );
  if (disks.length === 0) return { volumes: {} };
  const cluster = await askCluster(context, places).catch(silence);
  const arrival = await askArrival(context, plan, destination);
  return { cluster, arrival, volumes: await askVolumes(context, disks, arrival) };
}

async function standing(source: Virsh, name: string) {
  const info = await source.run(['dominfo', '--domain', name]);
  const job = await source.run(['domjobinfo', '--domain', name]).catch(() => '');
  return {
    state: await source.domainState(name),
    persistent: /^Persistent: +yes$/m.test(info),
    busy: /^Job type: +(?!None)\S/m.test(job),
  };
}

async function askCluster(context: Context, places: readonly NbdPlace[]): Promise<ClusterFacts> {
  const { clusterId } = await context.call('cluster.info', {});
  return { clusterId, places, blocking: await blockingOf({ host: context.host, port: context.port }) };
}

async function blockingOf(address: Address): Promise<readonly string[]> {
  return (await limited(address).troubles()).blocking;
}

/** Calls that end in time; where guests find the sheep does not matter for them. */
function limited(address: Address): LimitedCluster {
  return new LimitedCluster(address, { host: address.host, port: 0 });
}

async function askArrival(
  context: Context,
  plan: MigrationPlan,
  destination: Destination | Silent,
): Promise<ArrivalSheep | UnknownSheep | Silent> {
  try {
    if (plan.toSheep !== undefined) return await askSheep(plan.toSheep);
    const nodes = await context.call('node.list', {});
    const names = [hostOfUri(plan.uri), 'hostname' in destination ? destination.hostname : undefined];
    const found = await sheepOf(
      nodes.filter((node) => node.up),
      names.filter((name) => name !== undefined),
    );
    if (found.length === 1) return await askSheep(found[0]!);
    return { candidates: found.map(({ host, port }) => `${host}:${port}`) };
  } catch (error) {
    return silence(error);
  }
}

/** Those on the host of these names. Loopback is the host of who asks, and says nothing. */
async function sheepOf(nodes: readonly NodeInfo[], names: readonly string[]): Promise<NodeInfo[]> {
  const addresses = new Set<string>(names);
  for (const name of names) {
    const late = new Promise<[]>((resolve) => setTimeout(resolve, LOOKUP_MS, []).unref());
    const found = await Promise.race([lookup(name, { all: true }).catch(() => []), late]);
    for (const { address } of found) addresses.add(address);
  }
  return nodes.filter(({ host }) => !isLoopback(host) && addresses.has(host));
}

/** `qemu+ssh://root@beta:22/system`: beta. Undefined when it names none. */
export function hostOfUri(uri: string): string | undefined {
  const found = /^[^/]*:\/\/(?:[^@/]*@)?(?:\[([^\]]+)\]|([^:/?]+))/.exec(uri);
  return found?.[1] ?? found?.[2];
}

async function askSheep(address: Address): Promise<ArrivalSheep> {
  const { host, port } = address;
  const { result: info } = await callSoon(address, 'cluster.info', {});
  const { result: doors } = await callSoon(address, 'node.doors', {});
  return { host, port, clusterId: info.clusterId, doors, blocking: await blockingOf(address) };
}

async function askVolumes(
  context: Context,
  disks: readonly { target: string; nbd: NbdDisk }[],
  arrival: ArrivalSheep | UnknownSheep | Silent,
): Promise<MigrationFacts['volumes']> {
  const locks = await context.call('vdi.locks', {}).catch(() => []);
  const entries = disks.map(async ({ target, nbd }): Promise<[string, VolumeFacts | Silent]> => {
    const { volume, snapshot } = volumeOf(nbd.exportName);
    const ref = vdiRef(volume, snapshot);
    try {
      // Who has clients keeps the volume: this asks, and moves nothing while the guest runs.
      const { users } = await limited(context).claim(ref);
      const owners = locks.filter((lock) => lock.name === volume && lock.snapId === (ref.snapId ?? 0));
      const held = owners.flatMap((lock) => lock.owners.map(({ host, port }) => `${host}:${port}`));
      const missing = 'doors' in arrival ? await missingAt(arrival, ref) : undefined;
      return [target, { users, locks: held, ...(missing !== undefined && { missing }) }];
    } catch (error) {
      return [target, silence(error)];
    }
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function missingAt(sheep: ArrivalSheep, ref: VdiRef): Promise<string | undefined> {
  try {
    await callSoon(sheep, 'vdi.info', ref);
    return undefined;
  } catch (error) {
    return textOf(error);
  }
}

function silence(error: unknown): Silent {
  return { error: textOf(error) };
}

function textOf(error: unknown): string {
  const text = error instanceof AppError ? error.message : exitOf(error).message;
  return text.replace(/\.$/, '');
}

import { type Clock, sleep } from '../base/clock.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import { addressIn, type Directory, inodeAddress } from '../volume/directory.js';
import type { VdiRecord } from '../volume/records.js';
import { readIndex } from '../volume/volume-index.js';
import { dataOid } from '../wire/oid.js';
import type { LossReport, VersionLoss } from './member-api.js';

/** An index whose holders die meanwhile is not waited for. */
const READ_DEADLINE_MS = 10_000;
/** Objects looked at in one go. */
const SCAN_STEP = 4096;

export interface LossSources {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly clock: Clock;
}

/**
 * Which versions lose what when the cluster becomes what `after` says: objects of whose newest content no holder is
 * left. Reads the index of each version, one after the other.
 */
export async function reportLoss(
  sources: LossSources,
  after: ClusterView,
  onProgress: (done: number, total: number) => void,
): Promise<LossReport> {
  const { directory } = sources;
  if (!losesAny(after, sources.cluster.objects.options.copiesInUse())) return { versions: [], checked: 0 };
  const records = directory.vdis().filter((record) => record.state === 'live');
  const versions: VersionLoss[] = [];
  for (const [i, record] of records.entries()) {
    const loss = await lossOf(sources, after, record);
    if (loss.lostObjects > 0 || loss.inodeLost || loss.unreadable) versions.push(loss);
    onProgress(i + 1, records.length);
  }
  versions.sort((a, b) => (a.name === b.name ? a.snapId - b.snapId : a.name < b.name ? -1 : 1));
  return { versions, checked: records.length };
}

/** Some set of holders has nobody left with the newest content. */
function losesAny(after: ClusterView, copiesInUse: Iterable<number>): boolean {
  for (const { authority } of after.unservedSets(copiesInUse)) if (authority.length === 0) return true;
  return false;
}

async function lossOf(sources: LossSources, after: ClusterView, record: VdiRecord): Promise<VersionLoss> {
  const snapshot = record.snapshotMs > 0;
  const index = await readIndexSoon(sources, record);
  const inodeLost = after.locate(inodeAddress(record)).authority.length === 0;
  const loss: VersionLoss = {
    name: sources.directory.line(record.line)?.name ?? '',
    tag: snapshot ? record.tag : '',
    snapId: snapshot ? record.snapId : 0,
    objects: 0,
    lostObjects: 0,
    goneObjects: 0,
    objectBytes: 2 ** record.blockSizeShift,
    inodeLost,
    unreadable: index === undefined && !inodeLost,
  };
  for (const [i, owner] of (index ?? []).entries()) {
    if (i % SCAN_STEP === SCAN_STEP - 1) await sleep(sources.clock, 0);
    if (owner === 0) continue;
    loss.objects++;
    const { authority, holders } = after.locate(addressIn(record, dataOid(owner, i)));
    if (authority.length > 0) continue;
    loss.lostObjects++;
    // Whoever is up may have an older copy of it.
    if (!holders.some((id) => after.nodes.get(id)?.up)) loss.goneObjects++;
  }
  return loss;
}

/** Undefined: nobody who has it is up, or none answered. */
async function readIndexSoon(
  { cluster, clock }: LossSources,
  record: VdiRecord,
): Promise<Uint32Array | undefined> {
  const view = cluster.objects.context?.view;
  if (view === undefined || view.locate(inodeAddress(record)).serving.length === 0) return undefined;
  const reading = readIndex(cluster.client, cluster.client.session(), record).catch(() => undefined);
  return Promise.race([reading, sleep(clock, READ_DEADLINE_MS).then(() => undefined)]);
}

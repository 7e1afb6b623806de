import { AuthorityHistory } from '../epochs/authority.js';
import { type EpochNode, type EpochRecord, type FamilyCopies, targetOf } from '../epochs/epoch.js';
import { ClusterView } from '../epochs/view.js';
import { EpochEnded, type ObjectNode } from '../objects/object-node.js';

/** Objects looked at in one go: placing them costs time that others wait for. */
const SCAN_STEP = 256;

/** What one sheep says of a change that is only thought of: about the objects that it is the primary of. */
export interface Estimate {
  /** Objects it is the primary of, and how many of them have a single copy with the newest content that is up. */
  readonly objects: number;
  readonly single: number;
  /** Room an object takes on this sheep, on average: all are spread by their hash, so it is much the same anywhere. */
  readonly bytesPerObject: number;
  /** Objects that each node would be given, and would not hold any more, by its id. */
  readonly gains: Readonly<Record<string, number>>;
  readonly losses: Readonly<Record<string, number>>;
}

/** The cluster as it will be when everything that an epoch calls for has been moved. */
export function whenMoved(record: EpochRecord): EpochRecord {
  const { move: _, families, ...rest } = record;
  const nodes = record.nodes.map(placedAsWanted);
  return { ...rest, base: record.epoch, nodes, ...(families && { families: settled(families) }) };
}

function placedAsWanted(node: EpochNode): EpochNode {
  const { placed: _, ...rest } = node;
  const place = targetOf(node);
  return place === undefined ? rest : { ...rest, placed: place };
}

function settled(families: Readonly<Record<string, FamilyCopies>>): Record<string, FamilyCopies> {
  return Object.fromEntries(
    Object.entries(families).map(([root, { copies, next }]) => [root, { copies: next ?? copies }]),
  );
}

/** A view in which only the placement means anything. */
export function placementOf(record: EpochRecord, selfId: string): ClusterView {
  return new ClusterView(new AuthorityHistory([record]), selfId, () => 1);
}

/**
 * Walks the store of this node. `next`: the epoch that would follow the present one. Throws EpochEnded when an epoch
 * begins meanwhile.
 */
export async function estimateMove(
  node: ObjectNode,
  next: EpochRecord,
  usedBytes: number,
): Promise<Estimate> {
  const { context } = node;
  if (context === undefined || context.view.epoch + 1 !== next.epoch) throw new EpochEnded();
  const after = placementOf(whenMoved(next), node.selfId);
  const gains: Record<string, number> = {};
  const losses: Record<string, number> = {};
  let [stored, objects, single] = [0, 0, 0];
  for await (const oid of node.store.objects()) {
    if (++stored % SCAN_STEP === 0) await node.pause(1);
    const address = await node.options.resolve(oid);
    if (context !== node.context || node.stopped) throw new EpochEnded();
    if (address === undefined) continue;
    const { serving, placed } = context.view.locate(address);
    if (serving[0] !== node.selfId) continue;
    objects++;
    if (serving.length === 1) single++;
    const wanted = after.locate(address).placed;
    for (const id of wanted) if (!placed.includes(id)) gains[id] = (gains[id] ?? 0) + 1;
    for (const id of placed) if (!wanted.includes(id)) losses[id] = (losses[id] ?? 0) + 1;
  }
  return { objects, single, bytesPerObject: Math.round(usedBytes / Math.max(1, stored)), gains, losses };
}

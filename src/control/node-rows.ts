import { type EpochNode, type EpochRecord, type Registration, targetOf } from '../cluster/epochs/epoch.js';
import type { NodeInfo } from './api.js';
import type { NodeFigures } from './cluster-calls.js';
import { progressOf } from './recovery-status.js';

export interface NodeRowSources {
  /** The present epoch; none before the format, when those that are registered are all there is. */
  readonly record: EpochRecord | undefined;
  readonly registrations: ReadonlyMap<string, Registration>;
  readonly figures: ReadonlyMap<string, NodeFigures>;
  /** What this sheep alone knows of itself. */
  readonly own?: { readonly id: string; readonly syncingObjects: number };
}

/** One row for each sheep, in the order of their addresses. Pure. */
export function nodeRows({ record, registrations, figures, own }: NodeRowSources): NodeInfo[] {
  const members = record === undefined ? [...registrations.values()] : record.nodes;
  const rows = members.map((member): NodeInfo => {
    const registration = registrations.get(member.id);
    const node = record === undefined ? undefined : (member as EpochNode);
    const store = figures.get(member.id);
    const up = node?.up ?? registration !== undefined;
    return {
      index: 0,
      id: member.id,
      host: registration?.host ?? member.host,
      port: registration?.port ?? member.port,
      nbdPort: registration?.nbdPort ?? 0,
      httpPort: registration?.httpPort ?? 0,
      vnodes: member.vnodes,
      zone: member.zone,
      up,
      in: node?.in ?? false,
      ...(node !== undefined && record !== undefined && standingOf(node, record, store)),
      syncing: up && node?.behindSince !== undefined,
      syncingObjects: member.id === own?.id ? own.syncingObjects : 0,
      storeBytes: store?.totalBytes ?? 0,
      usedBytes: store?.usedBytes ?? 0,
      freeBytes: store?.freeBytes ?? 0,
      pid: registration?.pid ?? 0,
    };
  });
  rows.sort((a, b) => (a.host === b.host ? a.port - b.port : a.host < b.host ? -1 : 1));
  return rows.map((row, index) => ({ ...row, index }));
}

function standingOf(node: EpochNode, record: EpochRecord, figures: NodeFigures | undefined) {
  const progress = progressOf(node, record, figures?.recovery);
  const moving = record.move !== undefined && targetOf(node) !== undefined && node.moved !== record.move;
  return {
    ...(node.outBy !== undefined && { outBy: node.outBy }),
    ...(node.placed === undefined && { empty: true }),
    ...(node.maintenance && { maintenance: true }),
    ...(node.incomplete && { incomplete: true }),
    ...(node.behindSince !== undefined && { behind: true }),
    ...(moving && { moving: true }),
    ...(progress !== undefined && { progress }),
  };
}

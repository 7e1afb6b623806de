import { type EpochNode, type EpochRecord, targetOf } from '../cluster/epoch.js';
import { progressKey, type RecoveryProgress } from '../cluster/recovery-meter.js';
import type { ClusterSettings } from '../cluster/settings.js';
import type { ClusterView } from '../cluster/view.js';
import type { NodeInfo } from './api.js';
import type { NodeProgress, RecoveryStatus } from './member-api.js';

export interface RecoverySources {
  readonly view: ClusterView;
  readonly settings: ClusterSettings;
  readonly copiesInUse: Iterable<number>;
  /** For addresses as they are now; `progress` of who has something to do. */
  readonly nodes: readonly NodeInfo[];
  /** When the epoch began in which the target was set. */
  readonly moveSinceWallMs: number | undefined;
}

/** What recovery has come to, and in words why it does not go on. Pure. */
export function recoveryStatus(sources: RecoverySources): RecoveryStatus {
  const { view, settings, nodes, moveSinceWallMs } = sources;
  const { record } = view;
  const { downOutMs, recoveryPaused } = settings;
  const busy = nodes.flatMap((node) => {
    if (node.progress === undefined) return [];
    const { id, host, port, progress } = node;
    return [{ id, host, port, ...progress }];
  });
  const etas = busy.map((node) => node.etaMs);
  const known = etas.length > 0 && etas.every((eta) => eta !== undefined);
  return {
    downOutMs,
    recoveryPaused,
    epoch: record.epoch,
    ...(record.move !== undefined && {
      move: { epoch: record.move, sinceWallMs: moveSinceWallMs ?? record.wallMs },
    }),
    nodes: busy,
    waiting: waitingFor(sources),
    ...(known && { etaMs: Math.max(...(etas as number[])) }),
  };
}

/** A node's progress, when it is about what the epoch wants of it; a node that has only begun has none yet. */
export function progressOf(
  node: EpochNode,
  record: EpochRecord,
  published: RecoveryProgress | undefined,
): NodeProgress | undefined {
  if (!node.up) return undefined;
  const key = progressKey(node, isMover(node) ? record.move : undefined);
  if (key === undefined) return undefined;
  if (published === undefined || published.key !== key) {
    const doing = node.incomplete ? 'restoring' : node.behindSince !== undefined ? 'catching-up' : 'moving';
    return { doing, done: 0, total: 0, movedBytes: 0, bytesPerS: 0 };
  }
  const { doing, done, remaining, movedBytes, objectsPerS, bytesPerS, waiting } = published;
  return {
    doing,
    done,
    total: done + remaining,
    movedBytes,
    bytesPerS,
    ...(objectsPerS > 0 && { etaMs: Math.round((remaining / objectsPerS) * 1000) }),
    ...(waiting !== undefined && { waiting }),
  };
}

/** It takes part in moves: objects lie on it or shall. */
function isMover(node: EpochNode): boolean {
  return targetOf(node) !== undefined;
}

function waitingFor(sources: RecoverySources): string[] {
  const { view, settings, nodes } = sources;
  const { record } = view;
  const nameOf = (id: string) => {
    const node = nodes.find((n) => n.id === id);
    return node === undefined ? id : `${node.host}:${node.port}`;
  };
  const lines: string[] = [];
  const unfinished = record.move !== undefined || nodes.some((n) => n.progress !== undefined);
  if (settings.recoveryPaused && unfinished) {
    lines.push("recovery is paused; 'dog cluster recover enable' lets it go on");
  }
  const lost = awaited(sources);
  if (lost.nobody) {
    lines.push(
      "the newest content of some objects is lost; 'dog cluster accept-loss' says of which volumes, " +
        'and goes on with what is left',
    );
  }
  for (const id of lost.nodes) {
    const name = nameOf(id);
    lines.push(
      `${name} is down and alone has the newest content of some objects: start it; ` +
        `if its data is gone for good: 'dog node lost ${name}'`,
    );
  }
  if (record.move !== undefined) {
    for (const node of record.nodes) {
      if (node.up || targetOf(node) === undefined || lost.nodes.has(node.id)) continue;
      const name = nameOf(node.id);
      lines.push(
        `${name} is down, and objects shall lie on it: start it, or go on without it: 'dog node out ${name}'`,
      );
    }
  }
  for (const node of nodes) {
    if (node.progress?.waiting !== 'no-space') continue;
    lines.push(`${node.host}:${node.port} has no room for what it is given: make room there, or add a sheep`);
  }
  return lines;
}

/** Nodes that are down and without which some objects cannot be used; `nobody`: some could not even with all of them. */
function awaited({ view, copiesInUse }: RecoverySources): { nodes: Set<string>; nobody: boolean } {
  const nodes = new Set<string>();
  let nobody = false;
  for (const { authority } of view.unservedSets(copiesInUse)) {
    if (authority.length === 0) nobody = true;
    for (const id of authority) nodes.add(id);
  }
  return { nodes, nobody };
}

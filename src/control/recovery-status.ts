import { mayGiveUp } from '../cluster/epochs/down-out.js';
import { type EpochNode, type EpochRecord, targetOf } from '../cluster/epochs/epoch.js';
import type { ClusterSettings } from '../cluster/epochs/settings.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import { progressKey, type RecoveryProgress } from '../cluster/recovery-meter.js';
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
    down: downLines(sources),
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
  const { doing, done, remaining, movedBytes, objectsPerS, bytesPerS, waiting, reason } = published;
  return {
    doing,
    done,
    total: done + remaining,
    movedBytes,
    bytesPerS,
    ...(objectsPerS > 0 && { etaMs: Math.round((remaining / objectsPerS) * 1000) }),
    ...(waiting !== undefined && { waiting }),
    ...(reason !== undefined && { reason }),
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
  for (const ids of lost.groups) {
    const names = ids.map(nameOf);
    const alone = names.length === 1;
    const who = alone
      ? `${names[0]} is down and alone has`
      : `${names.join(' and ')} are down and only they have`;
    const gone = alone
      ? `its data is gone for good: 'dog node lost ${names[0]}'`
      : "their data is gone: 'dog node lost'";
    lines.push(
      `${who} the newest content of some objects: start ${alone ? 'it' : 'one of them'}; if ${gone}`,
    );
  }
  if (record.move !== undefined) {
    for (const node of record.nodes) {
      if (
        node.up ||
        targetOf(node) === undefined ||
        lost.groups.some((ids) => ids.length === 1 && ids[0] === node.id)
      )
        continue;
      const name = nameOf(node.id);
      lines.push(
        `${name} is down, and objects shall lie on it: start it, or go on without it: 'dog node out ${name}'`,
      );
    }
  }
  for (const node of nodes) {
    const { waiting, reason } = node.progress ?? {};
    const name = `${node.host}:${node.port}`;
    if (waiting === 'no-space') {
      lines.push(`${name} has no room for what it is given: make room there, or add a sheep`);
    } else if (waiting === 'unreadable') {
      lines.push(`${name} is given objects that cannot be read everywhere: ${reason ?? 'see its log'}`);
    }
  }
  return lines;
}

/** What becomes of nodes that are down. */
function downLines({ view, settings, copiesInUse, nodes }: RecoverySources): string[] {
  return nodes.flatMap((row) => {
    const node = view.nodes.get(row.id);
    if (node === undefined || node.up || targetOf(node) === undefined) return [];
    const fate = node.maintenance
      ? 'it is in maintenance and waited for, however long that takes'
      : settings.downOutMs === 0
        ? 'it is waited for, however long that takes'
        : mayGiveUp(view.record, node.id, copiesInUse)
          ? `when it has been down for ${Math.round(settings.downOutMs / 1000)} s it is given up`
          : 'it is waited for: without it too few sheep are left to place its objects on';
    return [`${row.host}:${row.port} is down; ${fate}. It catches up when it is started`];
  });
}

/**
 * Groups of nodes that are down, one of each of which is needed, those first that are needed in any case; `nobody`:
 * some objects could not be used even with all of them.
 */
function awaited({ view, copiesInUse }: RecoverySources): { groups: string[][]; nobody: boolean } {
  const sets = new Map<string, string[]>();
  let nobody = false;
  for (const { authority } of view.unservedSets(copiesInUse)) {
    if (authority.length === 0) nobody = true;
    else {
      const ids = [...authority].sort();
      sets.set(ids.join(), ids);
    }
  }
  const groups: string[][] = [];
  for (const ids of [...sets.values()].sort((a, b) => a.length - b.length)) {
    if (!groups.some((fewer) => fewer.every((id) => ids.includes(id)))) groups.push(ids);
  }
  return { groups, nobody };
}

import { AppError } from '../base/errors.js';

/**
 * Epochs (D-4): immutable records in the coordinator of who is a member, and the pure rule that makes the next one.
 * Every node runs `nextEpoch` on the same record and the same registrations; whoever commits first wins, the others
 * find nothing left to do.
 */
export interface EpochNode {
  readonly id: string;
  host: string;
  port: number;
  zone: number;
  vnodes: number;
  /** Which machine it runs on: nodes of one machine lose power together. */
  hostId: string;
  bootId: string;
  /** Changes with each start and each loss of the lease. */
  incarnation: string;
  /** Objects are placed on it. */
  in: boolean;
  up: boolean;
  /** Epoch in which it came up last. */
  upSince: number;
  /**
   * Set while it may lack writes: it certainly has everything of epochs <= behindSince. After a power cut this is one
   * less than the last epoch it certainly served in, because what it had not synced in that epoch is gone.
   */
  behindSince?: number;
  /**
   * It has taken part in this epoch for certain, so everything older is on its stable storage. Being up in an epoch
   * proves nothing: it may have been dead already, and only its lease was not. Absent: 1.
   */
  sureEpoch?: number;
  /** behindSince is already lowered for a loss of unsynced writes: nothing older can be in doubt. */
  behindLossy?: boolean;
  /** In the step to this epoch it turned out to have lost unsynced writes. */
  lossy?: boolean;
  /** In the step to this epoch it had caught up. */
  caughtUp?: boolean;
}

export interface EpochRecord {
  readonly epoch: number;
  readonly wallMs: number;
  /** The newest epoch <= this one in which every node that is `in` was up and none was behind. */
  readonly base: number;
  readonly nodes: readonly EpochNode[];
}

/** What a running sheep keeps under node/<id>, attached to its lease. */
export interface Registration {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly nbdPort: number;
  readonly httpPort: number;
  readonly zone: number;
  readonly vnodes: number;
  readonly hostId: string;
  readonly bootId: string;
  readonly incarnation: string;
  readonly pid: number;
  readonly lease: string;
  /** Its store lost acknowledged writes that had not been synced (power cut, damaged journal). */
  readonly lossy: boolean;
  /** The `upSince` for which it has caught up with everything it missed. */
  readonly caughtUp?: number;
}

/** The first epoch of a freshly formatted cluster: everybody registered is a full member. */
export function firstEpoch(registrations: Iterable<Registration>, wallMs: number): EpochRecord {
  const nodes = [...registrations].map(
    (r): EpochNode => ({ ...memberOf(r), in: true, up: true, upSince: 1 }),
  );
  nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { epoch: 1, wallMs, base: 1, nodes };
}

/** The next epoch that the registrations call for, or undefined when the record fits them. */
export function nextEpoch(
  record: EpochRecord,
  registrations: ReadonlyMap<string, Registration>,
  wallMs: number,
): EpochRecord | undefined {
  const epoch = record.epoch + 1;
  let changed = false;
  const nodes = record.nodes.map((old) => {
    const registration = registrations.get(old.id);
    const node = withoutStepFlags(old);
    if (registration === undefined) {
      if (!old.up) return node;
      changed = true;
      return markDown(node, record.epoch, hasLostPower(old, registrations.values()));
    }
    if (!old.up || old.incarnation !== registration.incarnation) {
      changed = true;
      return markUp(node, registration, epoch, record.epoch);
    }
    if (old.behindSince !== undefined && registration.caughtUp === old.upSince) {
      changed = true;
      delete node.behindSince;
      delete node.behindLossy;
      node.caughtUp = true;
    }
    return node;
  });
  if (!changed) return undefined;
  noteCertainty(record, nodes);
  const healthy = nodes.every((n) => !n.in || (n.up && n.behindSince === undefined));
  return { epoch, wallMs, base: healthy ? epoch : record.base, nodes };
}

function withoutStepFlags(node: EpochNode): EpochNode {
  const copy = { ...node };
  delete copy.lossy;
  delete copy.caughtUp;
  return copy;
}

function markDown(node: EpochNode, lastEpoch: number, lossy: boolean): EpochNode {
  node.up = false;
  node.behindSince ??= lastEpoch;
  if (lossy) noteLoss(node);
  return node;
}

function markUp(node: EpochNode, registration: Registration, epoch: number, lastEpoch: number): EpochNode {
  // Host, port, zone and weight stay as they were when it joined: they decide the placement. Where it can be
  // reached now is in its registration.
  const { hostId, bootId, incarnation } = registration;
  const result: EpochNode = { ...node, hostId, bootId, incarnation, up: true, upSince: epoch };
  if (registration.lossy) {
    result.behindSince ??= lastEpoch;
    noteLoss(result);
  }
  // A restart nobody noticed, with nothing lost, misses nothing: no write was acknowledged without it.
  return result;
}

/** It may lack the unsynced part of the last epoch it took part in, which is sureEpoch or a later one. */
function noteLoss(node: EpochNode): void {
  node.lossy = true;
  if (node.behindLossy) return;
  node.behindLossy = true;
  node.behindSince = Math.min(node.behindSince!, node.sureEpoch ?? 1) - 1;
}

/**
 * Who has caught up has heard, in an epoch no older than the one it came up in, every node that was up in it. So those
 * that have been up since, without a new start, were in that epoch or a later one.
 */
function noteCertainty(record: EpochRecord, nodes: readonly EpochNode[]): void {
  const heard = Math.max(0, ...nodes.map((n) => (n.caughtUp ? n.upSince : 0)));
  nodes.forEach((node, i) => {
    const old = record.nodes[i]!;
    const since = old.up && old.upSince <= heard;
    if (since && heard > (node.sureEpoch ?? 1)) node.sureEpoch = heard;
  });
}

/** A machine that has another boot id than the node knew has been without power: so was the node. */
function hasLostPower(node: EpochNode, registrations: Iterable<Registration>): boolean {
  for (const r of registrations) if (r.hostId === node.hostId && r.bootId !== node.bootId) return true;
  return false;
}

function memberOf(r: Registration) {
  return {
    id: r.id,
    host: r.host,
    port: r.port,
    zone: r.zone,
    vnodes: r.vnodes,
    hostId: r.hostId,
    bootId: r.bootId,
    incarnation: r.incarnation,
  };
}

/** One line: each node up (+) or down (-), since when it is behind, and what happened to it in this step. */
export function formatEpoch(record: EpochRecord): string {
  const nodes = record.nodes.map((n) => {
    const behind = n.behindSince === undefined ? '' : ` behind ${n.behindSince}`;
    return `${n.id}${n.up ? '+' : '-'}${behind}${n.lossy ? ' lossy' : ''}${n.caughtUp ? ' caught up' : ''}`;
  });
  return `epoch ${record.epoch} base ${record.base}: ${nodes.join(', ')}`;
}

export function parseEpoch(text: string): EpochRecord {
  const record = JSON.parse(text) as EpochRecord;
  if (!Number.isSafeInteger(record.epoch) || !Array.isArray(record.nodes)) {
    throw new AppError('cluster-error', 'the epoch record in the coordinator is not readable');
  }
  return record;
}

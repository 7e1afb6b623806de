import { assert } from '../../base/assert.js';
import { applyChange, type Change } from './changes.js';
import {
  type EpochNode,
  type EpochRecord,
  type FamilyCopies,
  isWhole,
  type Place,
  type Registration,
  targetOf,
} from './epoch.js';

/**
 * The rule that makes the next epoch, pure: every node runs it on the same record and the same registrations; whoever
 * commits first wins, the others find nothing left to do.
 */
export interface Step {
  readonly wallMs: number;
  /** Everybody who was up in the present epoch has entered it (EpochRecord.ran). */
  readonly ran: boolean;
  /** What somebody wants to be different. */
  readonly change?: Change;
}

/** An epoch record in the making. */
export interface Draft {
  readonly epoch: number;
  readonly nodes: EpochNode[];
  families: Record<string, FamilyCopies>;
  lossAccepted: boolean;
}

/** The first epoch of a freshly formatted cluster: everybody registered is a full member. */
export function firstEpoch(registrations: Iterable<Registration>, wallMs: number): EpochRecord {
  const nodes = [...registrations].map((r): EpochNode => {
    const node: EpochNode = { ...memberOf(r), in: true, up: true, upSince: 1 };
    return { ...node, ...withPlace(targetOf(node)) };
  });
  nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { epoch: 1, wallMs, base: 1, ran: false, nodes };
}

/** The next epoch that registrations and change call for, or undefined when the record fits them. */
export function nextEpoch(
  record: EpochRecord,
  registrations: ReadonlyMap<string, Registration>,
  step: Step,
): EpochRecord | undefined {
  const epoch = record.epoch + 1;
  const before = record.nodes.map((node) => settledNode(node, record, step.ran));
  const draft: Draft = {
    epoch,
    nodes: before.map((node) => nodeNow(node, registrations, epoch)),
    families: { ...record.families },
    lossAccepted: false,
  };
  const joined = [...registrations.values()].filter((r) => !record.nodes.some((n) => n.id === r.id));
  for (const registration of joined) draft.nodes.push(newMember(registration, epoch));
  draft.nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
  let changed = joined.length > 0 || draft.nodes.some((node) => !before.includes(node));
  if (step.change !== undefined) changed = applyChange(draft, step.change) || changed;
  const move = moveOf(record, draft, epoch);
  changed ||= move !== record.move;
  for (const [i, node] of draft.nodes.entries()) {
    const noted = noteMoved(node, registrations.get(node.id), record.move, move);
    changed ||= noted !== node && noted.moved !== undefined;
    draft.nodes[i] = noted;
  }
  if (!changed) return undefined;
  return finish(record, draft, epoch, move, step);
}

/** The switch, if it is due: everybody in the target has everything, so it is the placement from this epoch on. */
function finish(
  record: EpochRecord,
  draft: Draft,
  epoch: number,
  move: number | undefined,
  step: Step,
): EpochRecord {
  const switching = move !== undefined && draft.nodes.every((n) => isReady(n, move));
  const nodes = switching ? draft.nodes.map((n) => committed(n, epoch)) : draft.nodes;
  const families = switching ? committedFamilies(draft.families) : draft.families;
  const healthy = (switching || move === undefined) && nodes.every(isHealthy);
  assert(!switching || healthy, 'a switch of the placement leaves everybody complete');
  return {
    epoch,
    wallMs: step.wallMs,
    base: healthy ? epoch : record.base,
    ran: step.ran,
    ...(move !== undefined && !switching && { move }),
    ...(Object.keys(families).length > 0 && { families }),
    ...(draft.lossAccepted && { lossAccepted: true }),
    nodes,
  };
}

/** Without the flags of the former step; who was up in an epoch that ran took part in it for certain. */
function settledNode(node: EpochNode, record: EpochRecord, ran: boolean): EpochNode {
  const { lossy: _, caughtUp: __, ...copy } = node;
  return ran && node.up ? { ...copy, sureEpoch: record.epoch } : copy;
}

/** The same object when nothing is new about the node. */
function nodeNow(
  node: EpochNode,
  registrations: ReadonlyMap<string, Registration>,
  epoch: number,
): EpochNode {
  const registration = registrations.get(node.id);
  if (registration === undefined) {
    return node.up ? markDown(node, epoch - 1, hasLostPower(node, registrations.values())) : node;
  }
  if (!node.up || node.incarnation !== registration.incarnation) return markUp(node, registration, epoch);
  const isBehind = node.behindSince !== undefined || node.incomplete;
  if (!isBehind || registration.caughtUp !== node.upSince) return node;
  const { behindSince: _, behindLossy: __, incomplete: ___, ...rest } = node;
  return { ...rest, caughtUp: true };
}

function markDown(node: EpochNode, lastEpoch: number, lossy: boolean): EpochNode {
  const down = { ...node, up: false, behindSince: node.behindSince ?? lastEpoch };
  return lossy ? withLoss(down) : down;
}

function markUp(node: EpochNode, registration: Registration, epoch: number): EpochNode {
  // Address, zone and weight stay as they are: they decide the placement. Where it can be reached now is in its
  // registration.
  const { hostId, bootId, incarnation } = registration;
  const result: EpochNode = { ...node, hostId, bootId, incarnation, up: true, upSince: epoch };
  if (result.outBy === 'delay') {
    result.in = true;
    delete result.outBy;
  }
  if (registration.incomplete) result.incomplete = true;
  // A restart nobody noticed, with nothing lost, misses nothing: no write was acknowledged without it.
  if (!registration.lossy) return result;
  return withLoss({ ...result, behindSince: result.behindSince ?? epoch - 1 });
}

/** It may lack the unsynced part of the last epoch it took part in, which is sureEpoch or a later one. */
function withLoss(node: EpochNode): EpochNode {
  if (node.behindLossy) return { ...node, lossy: true };
  const behindSince = Math.min(node.behindSince!, node.sureEpoch ?? 1) - 1;
  return { ...node, lossy: true, behindLossy: true, behindSince };
}

/** A machine that has another boot id than the node knew has been without power: so was the node. */
function hasLostPower(node: EpochNode, registrations: Iterable<Registration>): boolean {
  for (const r of registrations) if (r.hostId === node.hostId && r.bootId !== node.bootId) return true;
  return false;
}

/** It holds nothing yet, and is given its part by a move. Older epochs than this one are none of its business. */
function newMember(registration: Registration, epoch: number): EpochNode {
  return { ...memberOf(registration), in: true, up: true, upSince: epoch, sureEpoch: epoch - 1 };
}

function memberOf(r: Registration) {
  const { id, host, port, zone, vnodes, hostId, bootId, incarnation } = r;
  return { id, host, port, zone, vnodes, hostId, bootId, incarnation };
}

/** The move that the target calls for: the one under way when that has the same target, a new one, or none. */
function moveOf(record: EpochRecord, draft: Draft, epoch: number): number | undefined {
  const wanted = draft.nodes.map((n) => placeText(n.id, targetOf(n))).join();
  const present = draft.nodes.map((n) => placeText(n.id, n.placed)).join();
  const altered = Object.values(draft.families).some((f) => f.next !== undefined);
  if (wanted === present && !altered) return undefined;
  const former = record.nodes.map((n) => placeText(n.id, targetOf(n))).join();
  const sameFamilies = familiesText(record.families ?? {}) === familiesText(draft.families);
  return record.move !== undefined && wanted === former && sameFamilies ? record.move : epoch;
}

function placeText(id: string, place: Place | undefined): string {
  return place === undefined ? '' : `${id}/${place.zone}/${place.vnodes}`;
}

function familiesText(families: Readonly<Record<string, FamilyCopies>>): string {
  const altered = Object.keys(families).filter((root) => families[root]!.next !== undefined);
  return altered
    .sort()
    .map((root) => `${root}/${families[root]!.next}`)
    .join();
}

/** What a node has said about the move; what it said about another one is void. */
function noteMoved(
  node: EpochNode,
  registration: Registration | undefined,
  former: number | undefined,
  move: number | undefined,
): EpochNode {
  if (move === undefined || move !== former) {
    if (node.moved === undefined) return node;
    const { moved: _, ...rest } = node;
    return rest;
  }
  if (node.moved === move || registration?.moved !== move) return node;
  return registration.incarnation === node.incarnation ? { ...node, moved: move } : node;
}

function isReady(node: EpochNode, move: number): boolean {
  if (targetOf(node) === undefined) return true;
  return node.up && node.moved === move && isWhole(node);
}

function committed(node: EpochNode, epoch: number): EpochNode {
  const { moved: _, placed: __, ...rest } = node;
  const place = targetOf(node);
  if (place !== undefined) return { ...rest, placed: place };
  // It holds nothing any more, so there is nothing that it could lack. While it is down it may become part of a move:
  // what is made after that move's lists were is not in them, and is missed like anything else in an absence.
  const { behindSince: ___, behindLossy: ____, incomplete: _____, ...empty } = rest;
  return node.up ? empty : { ...empty, behindSince: epoch };
}

function committedFamilies(families: Readonly<Record<string, FamilyCopies>>): Record<string, FamilyCopies> {
  return Object.fromEntries(
    Object.entries(families).map(([root, { copies, next }]) => [root, { copies: next ?? copies }]),
  );
}

function isHealthy(node: EpochNode): boolean {
  return node.placed === undefined || (node.up && isWhole(node));
}

function withPlace(place: Place | undefined): { placed?: Place } {
  return place === undefined ? {} : { placed: place };
}

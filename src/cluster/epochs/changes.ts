import { AppError } from '../../base/errors.js';
import { COPIES_MAX } from '../../wire/sheepdog.js';
import { type EpochNode, targetOf } from './epoch.js';
import type { Draft } from './next-epoch.js';

/**
 * What people (and the delay after which a node that is down is given up) want to be different in the cluster. Pure;
 * whether it is wise is for the caller to judge, only what would lose data by itself is refused here.
 */
export type Change =
  /** Objects shall (not) lie on the node. */
  | { readonly kind: 'in'; readonly id: string }
  | { readonly kind: 'out'; readonly id: string; readonly by: 'admin' | 'delay' }
  | { readonly kind: 'weight'; readonly id: string; readonly vnodes: number }
  | { readonly kind: 'zone'; readonly id: string; readonly zone: number }
  | { readonly kind: 'maintenance'; readonly id: string; readonly on: boolean }
  /** Its data will never come back. */
  | { readonly kind: 'lost'; readonly id: string }
  /** It is no member any more. Refused while objects count as lying on it, or it is up. */
  | { readonly kind: 'remove'; readonly id: string }
  /** Copies of all volumes of a family; `present`: what their records say now. */
  | { readonly kind: 'copies'; readonly root: number; readonly present: number; readonly copies: number }
  /**
   * The families are gone: an id of theirs may become the root of another one, which has its own number of copies.
   * `epoch`: only if it is the next one, for who is certain only of what was before it.
   */
  | { readonly kind: 'forget-copies'; readonly roots: readonly number[]; readonly epoch?: number }
  /** Where all replicas with the newest content are lost, go on with the newest that is left. */
  | { readonly kind: 'accept-loss' };

/** Families whose copies were altered, at most: they are in each epoch record. */
export const ALTERED_FAMILIES_MAX = 4096;

/** Carries the change out on the draft. Returns whether it made a difference; throws AppError when it must not be. */
export function applyChange(draft: Draft, change: Change): boolean {
  switch (change.kind) {
    case 'accept-loss':
      draft.lossAccepted = true;
      return true;
    case 'copies':
      return alterCopies(draft, change);
    case 'forget-copies':
      return forgetCopies(draft, change);
    default:
      return alterNode(draft, change);
  }
}

function alterNode(draft: Draft, change: Extract<Change, { id: string }>): boolean {
  const at = draft.nodes.findIndex((n) => n.id === change.id);
  const node = draft.nodes[at];
  if (node === undefined) throw new AppError('missing', `there is no node ${change.id} in this cluster`);
  if (change.kind === 'remove') {
    checkRemoval(node);
    draft.nodes.splice(at, 1);
    return true;
  }
  const altered = alteredNode(node, change);
  if (JSON.stringify(altered) === JSON.stringify(node)) return false;
  draft.nodes[at] = altered;
  const holdsNone = draft.nodes.every((n) => targetOf(n) === undefined);
  if (holdsNone) throw new AppError('invalid', 'the last node that holds objects must stay');
  return true;
}

function alteredNode(node: EpochNode, change: Exclude<Extract<Change, { id: string }>, { kind: 'remove' }>) {
  switch (change.kind) {
    case 'in': {
      const { outBy: _, ...rest } = node;
      return { ...rest, in: true };
    }
    case 'out':
      // It has come back in this moment.
      if (change.by === 'delay' && node.up) return node;
      // Who was asked for stays away, also when the delay is over too.
      return { ...node, in: false, outBy: node.outBy === 'admin' ? ('admin' as const) : change.by };
    case 'weight':
      return { ...node, vnodes: change.vnodes };
    case 'zone':
      return { ...node, zone: change.zone };
    case 'maintenance': {
      const { maintenance: _, ...rest } = node;
      return change.on ? { ...rest, maintenance: true } : rest;
    }
    case 'lost':
      if (node.up) throw new AppError('invalid', `${node.host}:${node.port} is up: its data is not lost`);
      return { ...node, incomplete: true, in: false, outBy: 'admin' as const };
  }
}

function checkRemoval(node: EpochNode): void {
  const name = `${node.host}:${node.port}`;
  if (node.placed !== undefined) {
    throw new AppError('again', `objects lie on ${name}: drain it first (dog node drain ${name})`);
  }
  if (node.up) throw new AppError('again', `${name} is up: stop its sheep first (dog node kill ${name})`);
}

function alterCopies(draft: Draft, change: Extract<Change, { kind: 'copies' }>): boolean {
  const { copies, present } = change;
  if (!Number.isSafeInteger(copies) || copies < 1 || copies > COPIES_MAX) {
    throw new AppError('invalid', `copies must be a number from 1 to ${COPIES_MAX}`);
  }
  const root = change.root.toString(16);
  const known = draft.families[root];
  const now = known?.copies ?? present;
  if ((known?.next ?? now) === copies) return false;
  if (known === undefined && Object.keys(draft.families).length >= ALTERED_FAMILIES_MAX) {
    throw new AppError(
      'invalid',
      `the copies of ${ALTERED_FAMILIES_MAX} families were altered: that is the limit`,
    );
  }
  draft.families = {
    ...draft.families,
    [root]: copies === now ? { copies: now } : { copies: now, next: copies },
  };
  return true;
}

function forgetCopies(draft: Draft, change: Extract<Change, { kind: 'forget-copies' }>): boolean {
  if (change.epoch !== undefined && change.epoch !== draft.epoch) return false;
  const gone = new Set(change.roots.map((root) => root.toString(16)));
  const kept = Object.entries(draft.families).filter(([root]) => !gone.has(root));
  if (kept.length === Object.keys(draft.families).length) return false;
  draft.families = Object.fromEntries(kept);
  return true;
}

import { type EpochNode, targetOf } from '../epochs/epoch.js';
import type { ClusterView } from '../epochs/view.js';
import type { Aside, Report } from './reach-board.js';
import type { HolderSet, Member, Situation } from './reachability.js';

/**
 * The situation that the reports describe in an epoch, for `judge`. Pure. With `returning`: as if this node, which has
 * stepped aside, were up again, with `cut` as what it cannot reach; undefined when there is nothing to judge.
 */
export interface Reported {
  readonly view: ClusterView;
  readonly reports: ReadonlyMap<string, Report>;
  readonly asides: ReadonlyMap<string, Aside>;
  readonly copiesInUse: () => Iterable<number>;
  readonly returning?: { readonly id: string; readonly cut: Iterable<string> };
}

export function situationOf(reported: Reported): Situation | undefined {
  const { view, returning, asides } = reported;
  const nodes = view.record.nodes;
  const isReturning = (node: EpochNode) => node.id === returning?.id;
  const isAside = (node: EpochNode) =>
    !isReturning(node) &&
    asides.has(node.id) &&
    (!node.up || asides.get(node.id)!.incarnation === node.incarnation);
  const present = nodes.filter((n) => isReturning(n) || (n.up && !isAside(n)));
  const broken = brokenPairs(reported, new Map(present.map((n) => [n.id, n])));
  if (broken.length === 0) return undefined;
  const asideWeight = nodes.filter(isAside).reduce((sum, n) => sum + weightOf(n), 0);
  const members = present.map(
    (n): Member => ({
      id: n.id,
      weight: weightOf(n),
      // As it will be when it is back: nobody goes for somebody who came later.
      upSince: isReturning(n) ? Number.MAX_SAFE_INTEGER : n.upSince,
    }),
  );
  return { members, broken, asideWeight, sets: setsOf(reported, members, broken) };
}

function brokenPairs(
  { reports, returning }: Reported,
  present: ReadonlyMap<string, EpochNode>,
): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [id, report] of reports) {
    if (id === returning?.id || present.get(id)?.incarnation !== report.incarnation) continue;
    for (const [other, incarnation] of Object.entries(report.cannot)) {
      if (other !== returning?.id && present.get(other)?.incarnation === incarnation) pairs.push([id, other]);
    }
  }
  if (returning === undefined) return pairs;
  for (const other of returning.cut) if (present.has(other)) pairs.push([returning.id, other]);
  return pairs;
}

function* setsOf(
  { view, copiesInUse }: Reported,
  members: readonly Member[],
  broken: readonly (readonly [string, string])[],
): Iterable<HolderSet> {
  const present = new Set(members.map((m) => m.id));
  for (const { authority, needed } of view.setsWith(new Set(broken.flat()), copiesInUse())) {
    yield { serving: authority.filter((id) => present.has(id)), needed };
  }
}

function weightOf(node: EpochNode): number {
  return Math.max(node.placed?.vnodes ?? 0, targetOf(node)?.vnodes ?? 0);
}

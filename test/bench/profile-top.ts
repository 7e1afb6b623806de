/** Reads a V8 CPU profile: which functions the samples fell into. */
import { readFileSync } from 'node:fs';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface Cost {
  readonly where: string;
  /** In the function itself, and with all it calls. */
  readonly selfUs: number;
  readonly totalUs: number;
}

/** Functions by the time spent in themselves; idle time is left out. */
export function profileCosts(path: string): Cost[] {
  const profile = JSON.parse(readFileSync(path, 'utf8')) as Profile;
  const selfUs = new Map<number, number>();
  profile.samples.forEach((id, i) => {
    selfUs.set(id, (selfUs.get(id) ?? 0) + profile.timeDeltas[i]!);
  });
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const costs = new Map<string, { selfUs: number; totalUs: number }>();
  const visit = (node: ProfileNode, above: ReadonlySet<string>): number => {
    const where = placeOf(node);
    const inside = new Set(above).add(where);
    const self = selfUs.get(node.id) ?? 0;
    let total = self;
    for (const child of node.children ?? []) total += visit(byId.get(child)!, inside);
    const cost = costs.get(where) ?? { selfUs: 0, totalUs: 0 };
    cost.selfUs += self;
    // A recursive call is part of the outer one already.
    if (!above.has(where)) cost.totalUs += total;
    costs.set(where, cost);
    return total;
  };
  visit(profile.nodes[0]!, new Set());
  return [...costs]
    .map(([where, cost]) => ({ where, ...cost }))
    .filter(({ where }) => where !== '(idle)' && where !== '(root)')
    .sort((a, b) => b.selfUs - a.selfUs);
}

function placeOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  const file = url.replace(/^.*\/(?=src\/|node_modules\/)/, '');
  return file === '' ? name : `${name} ${file}:${lineNumber + 1}`;
}

/**
 * Who must step aside when members cannot reach each other although all of them reach the coordinator (I-2 to I-4).
 * No lease ends then, and every write to objects on both, every flush and every new epoch would wait for ever. Pure:
 * the same data give the same verdict on every node.
 *
 * Kept are nodes that all reach each other, chosen so that, in this order: the fewest sets of holders are left without
 * anybody who has the newest content; the fewest are left with too few to take writes; the most weight stays; the most
 * nodes stay; those that have been up longest stay; the lower ids stay. When that is less than half of the weight
 * nobody goes: so broken a network is no quarrel between two, and more can be lost by going than by waiting.
 *
 * Why two nodes cannot both wait for ever: as long as both have their leases and neither hears the other, at least one
 * says so in the coordinator; from the same data both come to the same verdict, in which one of the two goes (or more
 * than half of the weight would have to); that one does so by itself, and whoever else would go at the same time
 * decides again, as steps aside are one after the other (step-aside.ts). Who has lost its lease is not waited for in
 * any case. Why a healthy cluster with one bad pair loses one node: the smallest cover of a single edge is one of its
 * ends, all come to the same end, and only that one acts.
 */
export interface Member {
  readonly id: string;
  /** 0: a gateway. */
  readonly weight: number;
  /** Epoch in which it came up last. */
  readonly upSince: number;
}

/** Some objects' holders. */
export interface HolderSet {
  /** Those that have the newest content and are up. */
  readonly serving: readonly string[];
  /** So many of them a write needs. */
  readonly needed: number;
}

export interface Situation {
  /** Who is up and has not stepped aside. */
  readonly members: readonly Member[];
  /** Pairs of which one cannot reach the other; the direction does not matter, requests need both. */
  readonly broken: readonly (readonly [string, string])[];
  readonly sets: Iterable<HolderSet>;
  /** Weight of those who have stepped aside already: they count for what half of the cluster is. */
  readonly asideWeight?: number;
}

export interface Verdict {
  /** Ids of those that must step aside, in order. */
  readonly go: readonly string[];
  /** Nobody goes, though there are broken pairs: too little would be left. */
  readonly stuck: boolean;
}

/** After so many looks at pairs, nodes and sets the best so far is good enough. Few broken pairs need far less. */
const WORK_MAX = 3_000_000;

export function judge(situation: Situation): Verdict {
  const graph = new Graph(situation);
  if (graph.isWhole) return { go: [], stuck: false };
  const go = new Search(graph, new Costs(graph, situation)).best();
  const weightOf = weighing(situation);
  const all = situation.members.reduce((sum, m) => sum + weightOf(m), 0);
  const kept = situation.members.filter((m) => !go.includes(m.id)).reduce((sum, m) => sum + weightOf(m), 0);
  if (2 * kept < all + (situation.asideWeight ?? 0)) return { go: [], stuck: true };
  return { go: [...go].sort(), stuck: false };
}

/** A cluster of gateways alone counts heads. */
function weighing({ members }: Situation): (member: Member) => number {
  return members.some((m) => m.weight > 0) ? (m) => m.weight : () => 1;
}

/** The members that cannot reach some other one, and whom. */
class Graph {
  readonly neighbours = new Map<string, Set<string>>();
  /** 0: has been up longest. */
  readonly juniority = new Map<string, number>();
  readonly members: ReadonlyMap<string, Member>;

  constructor(situation: Situation) {
    this.members = new Map(situation.members.map((m) => [m.id, m]));
    for (const [a, b] of situation.broken) {
      if (a === b || !this.members.has(a) || !this.members.has(b)) continue;
      this.join(a, b);
      this.join(b, a);
    }
    const bySeniority = [...this.neighbours.keys()].map((id) => this.members.get(id)!);
    bySeniority.sort((a, b) => a.upSince - b.upSince || (a.id < b.id ? -1 : 1));
    bySeniority.forEach((m, rank) => {
      this.juniority.set(m.id, rank);
    });
  }

  get isWhole(): boolean {
    return this.neighbours.size === 0;
  }

  private join(from: string, to: string): void {
    let known = this.neighbours.get(from);
    if (known === undefined) this.neighbours.set(from, (known = new Set()));
    known.add(to);
  }
}

/** What it costs that some go: compared number by number, the first that differs decides. */
type Cost = readonly [unserved: number, tooFew: number, weight: number, nodes: number];

class Costs {
  /** Only sets that would miss some of those who may have to go. */
  readonly sets: readonly HolderSet[];

  constructor(
    private readonly graph: Graph,
    situation: Situation,
  ) {
    const inDoubt = (id: string) => graph.neighbours.has(id);
    this.sets = [...situation.sets].filter(({ serving, needed }) => {
      const certain = serving.filter((id) => !inDoubt(id)).length;
      return certain < serving.length && certain < Math.max(1, needed);
    });
  }

  /** Never falls when one more goes. */
  of(gone: ReadonlySet<string>): Cost {
    let unserved = 0;
    let tooFew = 0;
    for (const { serving, needed } of this.sets) {
      const left = serving.reduce((count, id) => count + (gone.has(id) ? 0 : 1), 0);
      if (left === 0) unserved++;
      else if (left < needed && serving.length >= needed) tooFew++;
    }
    let weight = 0;
    for (const id of gone) weight += this.graph.members.get(id)!.weight;
    return [unserved, tooFew, weight, gone.size];
  }
}

function compareCosts(a: Cost, b: Cost): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** Goes through the covers of all broken pairs: somebody of each pair is in it. */
class Search {
  private readonly ids: readonly string[];
  private readonly neighbours: readonly (readonly number[])[];
  /** Broken pairs that a node is still in. */
  private readonly degrees: number[];
  private readonly gone = new Set<string>();
  private found: readonly string[] | undefined;
  private foundCost: Cost | undefined;
  private work = 0;

  constructor(
    private readonly graph: Graph,
    private readonly costs: Costs,
  ) {
    // The youngest first: of equally bad ones it is tried before the others.
    this.ids = [...graph.neighbours.keys()].sort((a, b) => graph.juniority.get(b)! - graph.juniority.get(a)!);
    const indexes = new Map(this.ids.map((id, index) => [id, index]));
    this.neighbours = this.ids.map((id) => [...graph.neighbours.get(id)!].map((n) => indexes.get(n)!));
    this.degrees = this.neighbours.map((n) => n.length);
  }

  best(): readonly string[] {
    this.look();
    return this.found!;
  }

  /** Either the worst connected one goes, or all go that it does not reach. */
  private look(): void {
    if (this.found !== undefined) {
      this.work += this.ids.length + this.costs.sets.length;
      if (this.work > WORK_MAX || compareCosts(this.costs.of(this.gone), this.foundCost!) > 0) return;
    }
    const worst = this.worstConnected();
    if (worst === undefined) {
      this.consider();
      return;
    }
    this.without([worst]);
    if (this.work > WORK_MAX) return;
    this.without(this.neighbours[worst]!.filter((n) => !this.gone.has(this.ids[n]!)));
  }

  private without(indexes: readonly number[]): void {
    for (const index of indexes) this.remove(index, 1);
    this.look();
    for (const index of indexes) this.remove(index, -1);
  }

  /** `by`: 1 to take it away, -1 to put it back. */
  private remove(index: number, by: 1 | -1): void {
    if (by === 1) this.gone.add(this.ids[index]!);
    else this.gone.delete(this.ids[index]!);
    const neighbours = this.neighbours[index]!;
    this.work += neighbours.length;
    for (const n of neighbours) this.degrees[n]! -= by;
  }

  private worstConnected(): number | undefined {
    let worst: number | undefined;
    let most = 0;
    for (let i = 0; i < this.ids.length; i++) {
      if (this.degrees[i]! <= most || this.gone.has(this.ids[i]!)) continue;
      worst = i;
      most = this.degrees[i]!;
    }
    return worst;
  }

  private consider(): void {
    const cost = this.costs.of(this.gone);
    const difference = this.foundCost === undefined ? -1 : compareCosts(cost, this.foundCost);
    if (difference > 0 || (difference === 0 && !this.isKinder())) return;
    this.found = [...this.gone];
    this.foundCost = cost;
  }

  /** Of two covers that cost the same, the one whose most senior member is younger. */
  private isKinder(): boolean {
    const ranks = (ids: Iterable<string>) =>
      [...ids].map((id) => this.graph.juniority.get(id)!).sort((a, b) => a - b);
    const others = ranks(this.found!);
    for (const [i, rank] of ranks(this.gone).entries()) if (rank !== others[i]) return rank > others[i]!;
    return false;
  }
}

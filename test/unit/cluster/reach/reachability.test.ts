import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import {
  type HolderSet,
  judge,
  type Member,
  type Situation,
} from '../../../../src/cluster/reach/reachability.js';

const NAMES = ['a', 'b', 'c', 'd', 'e'];

function members(weights: readonly number[], upSince: readonly number[] = []): Member[] {
  return weights.map((weight, i) => ({ id: NAMES[i]!, weight, upSince: upSince[i] ?? 1 }));
}

function pairs(...texts: string[]): [string, string][] {
  return texts.map((text) => [text[0]!, text[1]!]);
}

function going(situation: Partial<Situation> & Pick<Situation, 'members' | 'broken'>): string {
  const { go, stuck } = judge({ sets: [], ...situation });
  return stuck ? 'stuck' : go.join('');
}

const three = members([8, 8, 8]);

test('nobody steps aside while all reach each other', () => {
  assert.is(going({ members: three, broken: [] }), '');
  assert.is(going({ members: three, broken: pairs('ax', 'bb') }), '', 'who is no member does not matter');
});

test('of one bad pair one goes: the one that has been up for less long, or has the higher id', () => {
  for (const broken of [pairs('ab'), pairs('ba'), pairs('ab', 'ba')])
    assert.is(going({ members: three, broken }), 'b');
  assert.is(going({ members: members([8, 8, 8], [7, 3, 3]), broken: pairs('ab') }), 'a');
});

test('the node that nobody reaches goes, whatever its id', () => {
  assert.is(going({ members: three, broken: pairs('ab', 'ac') }), 'a');
  assert.is(going({ members: members([1, 1, 1, 1, 1]), broken: pairs('ba', 'bc', 'bd', 'be') }), 'b');
});

test('weight counts before heads, and a gateway goes before a node with data', () => {
  assert.is(going({ members: members([8, 0, 8]), broken: pairs('ab') }), 'b');
  assert.is(going({ members: members([8, 9, 8]), broken: pairs('ab') }), 'a');
  assert.is(going({ members: members([8, 3, 3, 8]), broken: pairs('ab', 'ac') }), 'bc');
});

test('of two halves one stays; of pieces that are all smaller than half none goes', () => {
  const four = members([8, 8, 8, 8]);
  assert.is(going({ members: four, broken: pairs('ac', 'ad', 'bc', 'bd') }), 'cd');
  assert.is(going({ members: three, broken: pairs('ab', 'bc', 'ca') }), 'stuck');
  assert.is(going({ members: members([8, 8]), broken: pairs('ab') }), 'b');
});

test('those who have stepped aside already count as part of the cluster', () => {
  assert.is(going({ members: three, broken: pairs('ab'), asideWeight: 8 }), 'b');
  assert.is(going({ members: three, broken: pairs('ab'), asideWeight: 9 }), 'stuck');
});

test('who alone has the newest content of something stays', () => {
  const broken = pairs('ab');
  assert.is(going({ members: three, broken, sets: [{ serving: ['b'], needed: 1 }] }), 'a');
  assert.is(going({ members: three, broken, sets: [{ serving: ['b', 'c'], needed: 1 }] }), 'b');
});

test('who is needed for enough copies stays', () => {
  const sets = [{ serving: ['b', 'c'], needed: 2 }];
  assert.is(going({ members: three, broken: pairs('ab'), sets }), 'a');
  assert.is(going({ members: members([8, 8, 8, 8]), broken: pairs('ab'), sets }), 'a');
});

test('two that together have the newest content do not both go when others can', () => {
  const four = members([1, 1, 1, 1]);
  const sets = [{ serving: ['c', 'd'], needed: 1 }];
  assert.is(going({ members: four, broken: pairs('ac', 'bd'), sets: [] }), 'cd');
  assert.is(going({ members: four, broken: pairs('ac', 'bd'), sets }), 'bc');
});

test('a cluster of gateways alone counts heads', () => {
  assert.is(going({ members: members([0, 0, 0]), broken: pairs('ab') }), 'b');
  assert.is(going({ members: members([0, 0, 0]), broken: pairs('ab', 'bc', 'ca') }), 'stuck');
});

test('for every network of up to five nodes the loss is the smallest one possible', () => {
  const random = new SeededRandom(11);
  for (let count = 2; count <= 5; count++) {
    const all = allPairs(count);
    for (let graph = 0; graph < 1 << all.length; graph++) {
      const broken = all.filter((_, i) => (graph >> i) & 1);
      for (const situation of variants(count, broken, random)) checkAgainstAll(situation);
    }
  }
});

test('a thousand nodes in two pieces are judged in no time', () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ id: `n${i}`, weight: 64, upSince: 1 }));
  const broken = many.slice(0, 400).flatMap((a) => many.slice(400).map((b) => [a.id, b.id] as const));
  const sets = many.map((m, i) => ({
    serving: [m.id, many[(i + 7) % 1000]!.id, many[(i + 500) % 1000]!.id],
    needed: 2,
  }));
  const startMs = performance.now();
  const { go } = judge({ members: many, broken, sets });
  assert.is(go.length, 400);
  assert.ok(performance.now() - startMs < 10_000);
});

function allPairs(count: number): [string, string][] {
  const names = NAMES.slice(0, count);
  return names.flatMap((a, i) => names.slice(i + 1).map((b): [string, string] => [a, b]));
}

function* variants(
  count: number,
  broken: readonly (readonly [string, string])[],
  random: SeededRandom,
): Iterable<Situation> {
  yield { members: members(Array(count).fill(1)), broken, sets: [] };
  for (let i = 0; i < 2; i++) {
    const weights = Array.from({ length: count }, () => random.below(4));
    const upSince = Array.from({ length: count }, () => random.below(3));
    const sets = Array.from({ length: random.below(4) }, (): HolderSet => {
      const serving = NAMES.slice(0, count).filter(() => random.chance(0.4));
      return { serving, needed: 1 + random.below(2) };
    });
    yield { members: members(weights, upSince), broken, sets: sets.filter((s) => s.serving.length > 0) };
  }
}

/** Against the plain definition, over all subsets. */
function checkAgainstAll(situation: Situation): void {
  const ids = situation.members.map((m) => m.id);
  const covers: string[][] = [];
  for (let subset = 0; subset < 1 << ids.length; subset++) {
    const gone = ids.filter((_, i) => (subset >> i) & 1);
    if (situation.broken.every(([a, b]) => gone.includes(a) || gone.includes(b))) covers.push(gone);
  }
  const best = covers.map((gone) => lossOf(situation, gone)).sort(compareLists)[0]!;
  const { go, stuck } = judge(situation);
  const total = situation.members.reduce((sum, m) => sum + m.weight, 0);
  const half = total > 0 ? total / 2 : ids.length / 2;
  const atStake = total > 0 ? best[2]! : best[3]!;
  const text = JSON.stringify(situation);
  if (2 * half - atStake < half) {
    assert.equal({ go, stuck }, { go: [], stuck: true }, text);
    return;
  }
  assert.not(stuck, text);
  assert.ok(
    covers.some((gone) => gone.join() === go.join()),
    `all that remain reach each other: ${text}`,
  );
  assert.equal(lossOf(situation, go), best, text);
}

function lossOf({ members: all, sets }: Situation, gone: readonly string[]): number[] {
  const left = [...sets].map((s) => ({ ...s, left: s.serving.filter((id) => !gone.includes(id)).length }));
  return [
    left.filter((s) => s.left === 0).length,
    left.filter((s) => s.left > 0 && s.left < s.needed && s.serving.length >= s.needed).length,
    all.filter((m) => gone.includes(m.id)).reduce((sum, m) => sum + m.weight, 0),
    gone.length,
  ];
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value - b[i]!;
  return 0;
}

test.run();

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runSeed } from '../../sim/swarm.js';
import { toyKind, toyMutants } from '../../sim/toy.js';

const SEEDS_PER_MUTANT_MAX = 60;
/** Few operations are sent twice unless channels break all the time. */
const hard = { faults: { breakChannel: 100, kill: 2000, powerCutAll: 5000 }, operations: 300, clients: 5 };

test('a seed repeats itself exactly, and another seed does not', async () => {
  const first = await runSeed({ kind: toyKind, seed: 11 });
  const second = await runSeed({ kind: toyKind, seed: 11 });
  const other = await runSeed({ kind: toyKind, seed: 12 });
  assert.equal(second, first);
  assert.is.not(other.traceHash, first.traceHash);
});

test('a seed repeats itself with its trace switched on, line by line', async () => {
  const lines: string[][] = [[], []];
  const hashes = [];
  for (const own of lines) {
    const result = await runSeed({ kind: toyKind, seed: 5, trace: (line) => own.push(line) });
    hashes.push(result.traceHash);
  }
  assert.ok(lines[0]!.length > 100);
  assert.equal(lines[0], lines[1]);
  const silent = await runSeed({ kind: toyKind, seed: 5 });
  assert.equal(hashes, [silent.traceHash, silent.traceHash]);
});

test('the correct toy passes', async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const result = await runSeed({ kind: toyKind, seed });
    assert.is(result.failure, undefined);
  }
});

for (const mutant of toyMutants) {
  test(`the toy's mutant ${mutant} is caught`, async () => {
    for (let seed = 1; seed <= SEEDS_PER_MUTANT_MAX; seed++) {
      const result = await runSeed({ kind: toyKind, seed, mutants: { [mutant]: true }, config: hard });
      if (result.failure) return;
    }
    assert.unreachable(`${mutant} survived ${SEEDS_PER_MUTANT_MAX} seeds`);
  });
}

test('a cluster that never heals is reported, with what waits', async () => {
  const kind = { ...toyKind, startNode: neverHealthy };
  const result = await runSeed({ kind, seed: 1 });
  assert.match(result.failure!, /no liveness/);
});

const neverHealthy: typeof toyKind.startNode = async (environment) => {
  const node = await toyKind.startNode(environment);
  node.health = () => ({ allSynced: false, reason: 'test' });
  return node;
};

test.run();

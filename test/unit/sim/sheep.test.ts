import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sheepKind } from '../../sim/sheep.js';
import { runSeed } from '../../sim/swarm.js';

// The campaign is `npm run sim`; here only what must hold for it to mean anything.

test('a seed of the production node repeats itself exactly', async () => {
  const first = await runSeed({ kind: sheepKind, seed: 3 });
  const second = await runSeed({ kind: sheepKind, seed: 3 });
  assert.equal(second, first);
});

test('without faults the production node passes', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const result = await runSeed({ kind: sheepKind, seed, config: { faults: {} } });
    assert.is(result.failure, undefined);
    assert.ok(result.counters['replicas compared']! > 0);
  }
});

test.run();

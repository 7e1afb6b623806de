// deadline: 300 s
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { regressions } from '../sim/regressions.js';
import { sheepKind } from '../sim/sheep.js';
import { runSeed } from '../sim/swarm.js';

/** As they were found, before the simulator read so. */
const before = { sparseEvery: 0 };

for (const { what, seed, seeds, config } of regressions) {
  test(`once found by the simulator: ${what}`, async () => {
    for (let i = 0; i < seeds; i++) {
      const { failure } = await runSeed({
        kind: sheepKind,
        seed: seed + i,
        config: { ...before, ...config },
      });
      assert.is(failure, undefined, `seed ${seed + i} with ${JSON.stringify(config)}`);
    }
  });
}

test.run();

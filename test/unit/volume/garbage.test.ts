import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import { Garbage, type GarbageOptions } from '../../../src/volume/garbage.js';
import type { VdiRecord } from '../../../src/volume/records.js';
import { FakeClient, versionRecord } from './fake-client.js';

/** A node that sees the version as `state.record` says, in a cluster in which another node is up. */
function garbageOf(state: { record: VdiRecord | undefined; looks: number }): Garbage {
  const view = { nodes: new Map([['other', { up: true, incarnation: '7' }]]) };
  const options = {
    cluster: { client: new FakeClient(new SeededRandom(1)), objects: { context: { view } } },
    directory: {
      vdi: () => {
        state.looks++;
        return state.record;
      },
    },
    clock: systemClock,
    log: silentLogger,
  };
  return new Garbage(options as unknown as GarbageOptions);
}

test('who waits for another node to free a version goes on when it has, also when the record stays', async () => {
  const cleaner = { nodeId: 'other', incarnation: '7' };
  const deleted = versionRecord(1, 1024, { snapshotMs: 1, state: 'deleted', cleaner });
  for (const end of [undefined, { ...deleted, freed: true }]) {
    const state: { record: VdiRecord | undefined; looks: number } = { record: deleted, looks: 0 };
    let done = false;
    const freeing = garbageOf(state)
      .free(1)
      .then((freed) => {
        done = true;
        return freed;
      });
    while (state.looks < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.not(done, 'the other one is still at it');
    state.record = end;
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('never'), 2000).unref());
    const outcome = await Promise.race([freeing, late]);
    state.record = undefined;
    assert.is(outcome, 0);
  }
});

test.run();
